import errno

import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch import flags, profile_flag
from tests import programs, trees

ONE = trees.config({"data.datasets": [("covid_semiseg", "default")]})
TWO = trees.config({"data.datasets": [("medseg", "default"), ("ictcf", "default")]})


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (ONE, [], {}),
        (ONE, ["/data/x"], {"covid_semiseg": "/data/x"}),
        (ONE, ["/data/run=3"], {"covid_semiseg": "/data/run=3"}),
        (ONE, ["covid_semiseg"], {"covid_semiseg": "covid_semiseg"}),
        (TWO, ["medseg=/m", "ictcf=/i=2"], {"medseg": "/m", "ictcf": "/i=2"}),
    ],
)
def test_source_folders(config, given, expected):
    absl_flags.FLAGS.mark_as_parsed()
    with flagsaver.as_parsed((flags._DATA_DIR, given)):
        assert flags.source_dirs(config) == expected


def test_a_folder_without_a_name():
    absl_flags.FLAGS.mark_as_parsed()
    with (
        flagsaver.as_parsed((flags._DATA_DIR, ["/m"])),
        pytest.raises(ValueError, match=r"--data_dir=/m: name the dataset, NAME=FOLDER with a name of \['medseg'"),
    ):
        flags.source_dirs(TWO)


@pytest.mark.parametrize(
    ("error", "said"),
    [(KeyboardInterrupt(), "Stopped; run the same command again to resume"), (ValueError("x"), "Error: x\n")],
)
def test_what_stops_a_program_is_one_line(error, said, monkeypatch):
    def work():
        raise error

    monkeypatch.setattr(flags.program, "prepare", lambda: None)
    monkeypatch.setattr(flags.app, "run", lambda main, **_: main(["program"]))
    with pytest.raises(SystemExit, match=said):
        flags._run(work)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), OSError(errno.EDQUOT, "Quota")])
def test_a_full_disk_is_told_with_its_remedy_even_where_the_traceback_finds_no_room(error, monkeypatch, tmp_path):
    def work():
        raise error

    monkeypatch.setattr(flags.program, "prepare", lambda: None)
    monkeypatch.setattr(flags.app, "run", lambda main, **_: main(["program"]))
    monkeypatch.setattr(flags.tempfile, "gettempdir", lambda: str(tmp_path / "full"))
    with pytest.raises(SystemExit) as stopped:
        flags._run(work)
    first, last = str(stopped.value).strip().splitlines()
    assert first.startswith("(The traceback could not be written to ")
    remedy = "The disk is full: free space and run the same command again; what was saved is kept."
    assert last == f"Error: {error}. {remedy}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AttributeError(KeyError("'epoch'\nDid you mean")), "the config does not have: 'epoch' Did you mean"),
        (absl_flags.Error("flag --config=a:b:\n  Traceback:\n  ValueError: Unknown variant 'b'.\n"),
         r"^Error: ValueError: Unknown variant 'b'\.\n\(Traceback: "),
        (absl_flags.Error("Unknown flag 'x'"), "^Error: Unknown flag 'x' "),
    ],
)  # fmt: skip
def test_a_mistake_in_the_flags_is_one_line(error, said, monkeypatch):
    def parse(_):
        raise error

    monkeypatch.setattr(flags.flags, "FLAGS", parse)
    with pytest.raises(SystemExit, match=said):
        flags._parse(["program"])


def test_steps_to_profile():
    absl_flags.FLAGS.mark_as_parsed()
    assert profile_flag.steps() is None
    for given, steps in (("10:20", (10, 20)), ("7:7", (7, 7))):
        with flagsaver.as_parsed(profile_steps=given):
            assert profile_flag.steps() == steps


@pytest.mark.parametrize("given", ["", "10", "20:10", "0:5", "-1:5", "1:2:3", "a:b", "1.5:2", "1:", ":", "1:²", " 1:2"])
def test_steps_that_cannot_be_profiled(given):
    parsed = ["program", "--config=configs/ct_phantom.py:tiny", "--workdir=x", f"--profile_steps={given}"]
    with pytest.raises(
        SystemExit, match=r"^Error: flag --profile_steps=.*: give the first and the last step, .* 10:20"
    ):
        flags._parse(parsed)


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("phenotypes", ["--images=a", "--masks=b", "--out=c"]),
        ("mediate", ["--cohort=a", "--out=c"]),
    ],
)
@pytest.mark.parametrize(
    ("flag", "value"),
    [("profile_steps", "1:2"), ("data_dir", "d"), ("coordinator_address", "h:1"), ("num_processes", "2"),
     ("process_id", "0")],
)  # fmt: skip
def test_a_flag_of_a_run_is_refused_where_there_is_no_run(program, flags, flag, value):
    result = programs.run(f"launch.{program}", *flags, f"--{flag}={value}")
    assert result.returncode == 1
    name = flags[0][2:].partition("=")[0]
    assert f"--{flag} with --{name} has no effect; leave it out" in result.stderr


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("prepare", ["config", "workdir", "data_dir", "num_workers", "process_id"]),
        ("import_checkpoint", ["checkpoint", "model", "backbone", "width"]),
        ("summarize", ["depth", "model", "backbone", "width"]),
        ("segment", ["input", "compilation_cache_dir"]),
    ],
)
def test_help_lists_the_flags_of_all_of_launch(program, names):
    said = programs.run(f"launch.{program}", "--help").stdout
    assert [name for name in names if f"\n  --{name}: " in said] == names
    assert "--logtostderr" not in said


@pytest.mark.parametrize(
    ("program", "flag", "others"),
    [
        ("segment", "input", ["--input=a", "--single=a", "--multi=a", "--out=b"]),
        ("segment", "out", ["--input=a", "--single=a", "--multi=a"]),
        ("segment", "single", ["--input=a", "--multi=a", "--out=b"]),
        ("segment", "multi", ["--input=a", "--single=a", "--out=b"]),
        ("phenotypes", "images", ["--masks=a", "--out=b"]),
        ("phenotypes", "masks", ["--images=a", "--out=b"]),
        ("phenotypes", "out", ["--images=a", "--masks=b"]),
        ("prepare", "workdir", ["--config=configs/ct_phantom.py:demo"]),
        ("prepare", "data_dir", ["--config=configs/ct_phantom.py:demo", "--workdir=b"]),
    ],
)
def test_an_empty_path_is_not_the_current_folder(tmp_path, program, flag, others):
    result = programs.run(f"launch.{program}", *others, f"--{flag}=")
    assert result.returncode == 1
    wanted = f"Error: --{flag}= is empty; name a file or a folder ('.' is the current one)."
    assert wanted in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/ct_phantom.py:huge"], "Unknown variant 'huge' of configs/ct_phantom.py; choose one of"),
        (["--config=configs/ct_phantom.py:tiny", "--stages=trian"], "Unknown stage trian; choose from prepare"),
        (["--config=configs/ct_phantom.py:tiny", "--stagse=train"], "Unknown command line flag 'stagse'"),
        (
            ["--config=configs/ct_phantom.py:tiny", "--config.seed=-1"],
            "config.seed must be in [0, 2147483647], found -1",
        ),
        (["--config=configs/covid_semiseg.py:cpu"], "read from a local folder; pass it with --data_dir"),
        (["--config=configs/covid_semiseg.py:cpu", "--data_dir=/nowhere"], "The source folder /nowhere of dataset"),
    ],
)
def test_mistakes_of_the_pipeline_end_with_one_clear_line(arguments, message, tmp_path):
    result = programs.run("launch.pipeline", f"--workdir={tmp_path / 'run'}", *arguments)
    assert result.returncode != 0
    assert message in result.stderr
    assert not (tmp_path / "run" / "prepare" / "done.json").exists()

import pytest

from ssinfnet_jax import models, rundir
from ssinfnet_jax.networks import storage
from ssinfnet_jax.networks.card import NetworkCard
from tests import programs

pytestmark = pytest.mark.long


def _run(*arguments):
    return programs.run("launch.export", *arguments)


def test_a_model_folder_is_exported(tmp_path):
    model = models.create("infnet", width=0.125)
    description = {
        "model": "infnet", "options": {"width": 0.125}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        "window_hu": [-1000, 200], "view": "frame",
    }  # fmt: skip
    storage.save(tmp_path / "single", models.init(model, 0, 3), NetworkCard.from_json(description))
    result = _run(f"--single={tmp_path / 'single'}", f"--out={tmp_path / 'new' / 'out'}")
    assert result.returncode == 0, result.stderr
    assert "for cpu, cuda, tpu" in result.stdout
    found = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert found == {"program.jax_export", "run_exported.py", "MODEL_CARD.md"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    card = (tmp_path / "new" / "out" / "MODEL_CARD.md").read_text()
    assert "the window [-1000, 200] HU" in card
    assert "**View** `frame`" in card


def test_a_run_whose_config_has_no_multi_network_is_exported(tmp_path):
    model = models.create("infnet", width=0.125)
    description = {
        "model": "infnet", "options": {"width": 0.125}, "image_size": 64, "normalisation": {"mean": 0.4, "std": 0.3},
        "window_hu": [-1000, 200], "view": "frame",
    }  # fmt: skip
    run = rundir.open_run(tmp_path / "run", {"name": "test", "multi": None, "data": {"datasets": []}})
    rundir.run_stage(
        run,
        "train_single",
        lambda run: storage.save(
            run.stage("train_single") / "model", models.init(model, 0, 3), NetworkCard.from_json(description)
        ),
    )
    result = _run(f"--workdir={run.path}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr


def test_a_network_that_does_not_say_its_window_is_refused(tmp_path):
    description = {"model": "infnet", "options": {"width": 0.125}, "image_size": 64,
                   "normalisation": {"mean": 0.4, "std": 0.3}}  # fmt: skip
    storage.save(
        tmp_path / "single", models.init(models.create("infnet", width=0.125), 0, 3), NetworkCard.from_json(description)
    )
    result = _run(f"--single={tmp_path / 'single'}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 1
    assert 'model.json has no "window_hu"' in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["single"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either --workdir, or --single"),
        (["--workdir=.", "--single=x"], "Give either --workdir, or --single"),
        (["--workdir=."], "Stage 'train_single' has not finished in .; run it first"),
        (["--single=nowhere"], "No trained network in nowhere: run the stage that trains it"),
    ],
)
def test_mistakes_end_with_one_clear_line_and_leave_nothing(tmp_path, arguments, message):
    result = _run(*arguments, f"--out={tmp_path / 'out'}")
    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_touched(tmp_path):
    result = _run("--single=x", f"--out={tmp_path}")
    assert f"--out={tmp_path} exists; give a new folder" in result.stderr
    assert not list(tmp_path.iterdir())

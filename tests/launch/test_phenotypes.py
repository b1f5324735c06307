"""`launch.phenotypes` of a folder as a user runs it, killed and resumed, and as a stage of a run."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from ssinfnet_jax.analysis import phenotypes
from tests import programs

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
SIZE = 160


def command(*arguments):
    return [sys.executable, "-m", "launch.phenotypes", "--compilation_cache_dir=", *arguments]


def environment(**more):
    return {**os.environ, **programs.ENVIRONMENT, **more}


def call(*arguments):
    return programs.run("launch.phenotypes", "--compilation_cache_dir=", *arguments)


def slice_of(seed):
    """Noise with two large lesions; a slice takes a fraction of a second."""
    rng = np.random.default_rng(seed)
    classes = np.zeros((SIZE, SIZE), np.uint8)
    classes[10:80, 10:150], classes[90:150, 20 : 140 - seed] = 1, 2
    return rng.integers(0, 255, (SIZE, SIZE)).astype(np.uint8), classes


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Flags for a folder of 40 slices of four patients, and their features by PyRadiomics' own classes."""
    folder = tmp_path_factory.mktemp("cohort")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for seed in range(40):
        image, classes = slice_of(seed)
        Image.fromarray(image).save(folder / "images" / f"P{seed // 10}_{seed:02d}.png")
        Image.fromarray(classes).save(folder / "masks" / f"P{seed // 10}_{seed:02d}.png")
    return [f"--images={folder / 'images'}", f"--masks={folder / 'masks'}", "--patients=^(P[0-9])_"]


@pytest.fixture(scope="module")
def uninterrupted(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    result = call(*cohort, f"--out={out}", "--num_workers=2")
    assert result.returncode == 0, result.stderr
    return out, result


def tables(out):
    return [pd.read_parquet(out / f"{name}.parquet") for name in ("slices", "patients")]


def test_a_folder_is_measured(uninterrupted):
    out, result = uninterrupted
    slices, patients = tables(out)
    assert slices["slice_id"].tolist() == [f"P{seed // 10}_{seed:02d}" for seed in range(40)]
    expected = phenotypes.extract(*slice_of(13))
    assert slices.loc[13, list(expected)].to_dict() == expected
    assert patients["patient_id"].tolist() == ["P0", "P1", "P2", "P3"]
    assert patients.loc[1, "ggo_glcm_Imc1"] == pytest.approx(slices.loc[10:19, "ggo_glcm_Imc1"].mean())
    assert "40 slices of 4 patients, slice_mean. Written to" in result.stdout
    about = json.loads((out / "about.json").read_text())
    assert about["versions"]["pyradiomics"] == "3.0.1"
    assert about["provenance"] == {"spacing_mm": None, "masks": "classes 0/1/2", "ignore_mask_geometry": False}
    assert about["notes"] == []
    assert (out / "unused_files.csv").read_text() == "path,files,kind,reason\n"


def write_volume(folder, name, hu, classes, mask_affine=None):
    """A volume of two slices and its mask."""
    affine = np.diag([-0.8, -0.8, 2.0, 1.0])
    for kind, values, place in (("images", hu, affine), ("masks", classes, mask_affine)):
        (folder / kind).mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(values, affine if place is None else place), folder / kind / name)


def test_files_that_cannot_be_measured_stop_no_others(tmp_path):
    """They are named, and the exit code is 1."""
    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 100, (20, 20, 2)).astype(np.int16)
    classes = np.zeros(hu.shape, np.uint8)
    classes[2:9, 3:12] = 1
    for name in ("good.nii", "mirrored.nii", "placeless.nii", "void.nii", "gone.nii"):
        write_volume(tmp_path, name, hu, classes, np.eye(4) if name == "mirrored.nii" else None)
    data = bytearray((tmp_path / "images/placeless.nii").read_bytes())
    data[280:328] = bytes(48)  # the sform
    (tmp_path / "images/placeless.nii").write_bytes(data)
    (tmp_path / "images/void.nii").write_bytes(b"")
    (tmp_path / "masks/gone.nii").unlink()
    (tmp_path / "masks/gone.nii").symlink_to("nowhere.nii")
    (tmp_path / "images/notes.txt").write_text("mine")
    write = ["--preset=hu", "--num_workers=0", f"--out={tmp_path / 'out'}"]
    result = call(f"--images={tmp_path / 'images'}", f"--masks={tmp_path / 'masks'}", *write)
    assert result.returncode == 1
    assert "5 slices failed; see the reasons in" in result.stderr
    assert "9 of 11 input files were not used (failed: 8; neither volume, PNG nor JPG: 1)" in result.stderr
    assert "Traceback" not in result.stderr
    slices = pd.read_csv(tmp_path / "out/slices.csv", keep_default_na=False).set_index("slice_id")
    errors = slices["error"].to_dict()
    assert "masks/gone.nii cannot be read (symbolic link to nothing)" in errors.pop("gone")
    assert "images/void.nii cannot be read (empty)" in errors.pop("void")
    assert "images/placeless.nii has an affine that does not place voxels in space" in errors.pop("placeless")
    assert errors.pop("good_0000") == errors.pop("good_0001") == ""
    assert list(errors) == ["mirrored_0000", "mirrored_0001"]
    assert all("does not lie on its image" in error for error in errors.values())
    unused = pd.read_csv(tmp_path / "out/unused_files.csv", keep_default_na=False)
    assert unused["files"].sum() == 9
    assert [pathlib.Path(path).name for path in unused.loc[unused["kind"] != "failed", "path"]] == ["notes.txt"]
    result = call(
        f"--images={tmp_path / 'images/mirrored.nii'}",
        f"--masks={tmp_path / 'masks/mirrored.nii'}",
        "--preset=hu",
        "--num_workers=0",
        f"--out={tmp_path / 'paired'}",
        "--ignore_mask_geometry",
    )
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "paired/about.json").read_text())["provenance"]["ignore_mask_geometry"] is True
    paired = pd.read_csv(tmp_path / "paired/slices.csv")
    assert paired["ggo_firstorder_Mean"].tolist() == pytest.approx([hu[2:9, 3:12, k].mean() for k in range(2)])


def test_killed_and_restarted_it_gives_the_same(cohort, uninterrupted, tmp_path):
    arguments = [*cohort, f"--out={tmp_path}", "--num_workers=2"]
    with subprocess.Popen(command(*arguments), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL) as program:
        while not list(tmp_path.glob("parts/part-*")):
            assert program.poll() is None
            time.sleep(0.05)
        program.send_signal(signal.SIGKILL)
    stored = sum(len(pd.read_parquet(path)) for path in tmp_path.glob("parts/part-*"))
    assert 0 < stored < 40
    assert not (tmp_path / "slices.csv").exists()
    result = call(*arguments)
    assert result.returncode == 0, result.stderr
    assert f"/{40 - stored} " in result.stderr  # the progress bar: only missing slices
    for found, expected in zip(tables(tmp_path), tables(uninterrupted[0]), strict=True):
        pd.testing.assert_frame_equal(found, expected)
    assert (tmp_path / "slices.csv").read_bytes() == (uninterrupted[0] / "slices.csv").read_bytes()


def test_a_killed_worker_loses_nothing(cohort, uninterrupted, tmp_path):
    arguments = [*cohort, f"--out={tmp_path}", "--num_workers=2"]
    with subprocess.Popen(command(*arguments), cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL) as program:
        while not list(tmp_path.glob("parts/part-*")):
            assert program.poll() is None
            time.sleep(0.05)
        workers = [
            child
            for child in psutil.Process(program.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
        workers[-1].kill()
        assert program.wait(timeout=600) == 0
    for found, expected in zip(tables(tmp_path), tables(uninterrupted[0]), strict=True):
        pd.testing.assert_frame_equal(found, expected)


def test_merged_with_other_settings(cohort, tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text('{"bin_width": 8, "classes": {"firstorder": ["Mean"], "glrlm": ["RunEntropy"]}}')
    result = call(*cohort, f"--out={tmp_path}", "--num_workers=0", f"--settings={settings}", "--aggregation=merged")
    assert result.returncode == 0, result.stderr
    _, patients = tables(tmp_path)
    wanted = phenotypes.make("eight_bit", json.loads(settings.read_text()))
    expected = phenotypes.extract_merged([(*slice_of(seed), (1.0, 1.0)) for seed in range(10)], settings=wanted)
    assert patients.loc[0, "ggo_glrlm_RunEntropy"] == expected["ggo_glrlm_RunEntropy"]
    assert "ggo_glcm_Imc1" not in patients


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--masks=a"], "give either --config and --workdir, or --images"),
        (["IMAGES", "--out=OUT"], "Error: With --images, give --masks (a folder) and --out (a folder)."),
        (
            ["IMAGES", "--masks=nowhere", "--out=OUT"],
            "Error: nowhere does not exist; pass a folder of pictures or volumes.",
        ),
        (["ALL", "--settings=README.md"], "Error: README.md is not JSON"),
        (["ALL", "--spacing_mm=0.7"], "Error: --spacing_mm=0.7 must be two lengths, such as 0.7,0.7."),
        (["ALL", "--dask_scheduler=tcp://127.0.0.1:9"], "Error: No Dask scheduler answers at tcp://127.0.0.1:9"),
        (["ALL", "--aggregation=median"], "slice_mean|area_weighted|merged"),
    ],
)
def test_mistakes_end_with_one_clear_line(cohort, tmp_path, arguments, message):
    named = {"IMAGES": cohort[:1], "ALL": [*cohort, f"--out={tmp_path / 'out'}"]}
    given = [flag for name in arguments for flag in named.get(name, [name.replace("OUT", str(tmp_path / "out"))])]
    result = call(*given)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback (most recent call last)" not in result.stderr
    assert not list(tmp_path.rglob("*.csv"))


def test_as_a_stage_it_wants_the_stage_before(tmp_path):
    result = call("--config=configs/ct_phantom.py:tiny", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 1
    assert "Stage 'phenotypes' needs prepare," in result.stderr


def test_settings_of_a_config_are_checked_first(tmp_path):
    config = ["--config=configs/ct_phantom.py:tiny", f"--workdir={tmp_path / 'run'}"]
    result = call(*config, "--config.phenotypes.by_patient=median")
    assert "Error: Unknown config.phenotypes.by_patient 'median'; choose one of slice_mean, area_weigh" in result.stderr
    assert not (tmp_path / "run").exists()

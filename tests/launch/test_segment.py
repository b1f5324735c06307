"""launch.segment as a user runs it: real processes, tiny networks, killed in the middle."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from ssinfnet_jax.data.datasets.ct_phantom import volume
from tests import programs
from tests.inference import tiny_networks

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]


def command(networks, out, *inputs, **flags):
    flags = {
        "single": networks / "single",
        "multi": networks / "multi",
        "out": out,
        "compilation_cache_dir": "",
        **flags,
    }
    given = [f"--input={path}" for path in inputs] + [f"--{name}={value}" for name, value in flags.items()]
    return [sys.executable, "-m", "launch.segment", *given]


def run(*arguments, **flags):
    return programs.run(*command(*arguments, **flags)[2:])


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return tiny_networks.write(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for number in (7, 8, 9):
        hu, _, affine = volume.render(0, number, 4, 96)
        volume.write_nifti(folder / f"chest{number}.nii.gz", hu, affine)
    volume.write_dicom(folder / "exam", hu, affine, patient_id="p9")
    return folder


def test_killed_midway_and_run_again_it_ends_as_if_it_had_not_been(networks, scans, tmp_path):
    whole = run(networks, tmp_path / "whole", scans)
    assert whole.returncode == 0, whole.stderr
    assert "chest8" in whole.stdout
    out = tmp_path / "killed"
    process = subprocess.Popen(
        command(networks, out, scans), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while not (out / "scans/chest7").is_dir() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "measurements.csv").exists()
    again = run(networks, out, scans)
    assert again.returncode == 0, again.stderr
    assert "of 4 scans were segmented before" in again.stderr
    pd.testing.assert_frame_equal(
        pd.read_csv(out / "measurements.csv"), pd.read_csv(tmp_path / "whole/measurements.csv")
    )
    for mask in sorted((tmp_path / "whole/masks").iterdir()):
        assert (out / "masks" / mask.name).read_bytes() == mask.read_bytes()
    np.testing.assert_array_equal(
        *(nib.load(out / "masks" / f"{name}.nii.gz").get_fdata() for name in ("chest9", "exam_series1"))
    )
    files = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    wanted = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert files == wanted
    assert {pathlib.Path("report.html"), pathlib.Path("cases/chest7.html")} < files


def test_stopped_with_ctrl_c_it_says_how_to_resume(networks, scans, tmp_path):
    process = subprocess.Popen(
        command(networks, tmp_path / "out", scans),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    while not (tmp_path / "out/scans").is_dir() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate()[1]
    assert process.returncode == 1, stderr
    assert stderr.strip().splitlines()[-1] == "Stopped; run the same command again to resume."
    assert "Traceback" not in stderr
    assert not (tmp_path / "out/measurements.csv").exists()


def test_pages_are_those_of_the_scans_that_are_there(networks, tmp_path):
    out, wanted = tmp_path / "out", {"index.txt", "one.html", "one.jpg"}
    for name in ("one", "gone"):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.fromarray(np.full((32, 32), 90, np.uint8)).save(tmp_path / "in" / name / "a.png")
    assert run(networks, out, tmp_path / "in").returncode == 0
    (out / "cases/index.txt").write_text("a user's own")
    assert {path.name for path in (out / "cases").iterdir()} == {*wanted, "gone.html", "gone.jpg"}
    for folder in (tmp_path / "in/gone", out / "scans/gone"):
        shutil.rmtree(folder)
    (out / "cases/one.jpg").unlink()
    again = run(networks, out, tmp_path / "in")
    assert again.returncode == 0, again.stderr
    assert {path.name for path in (out / "cases").iterdir()} == wanted
    assert "gone" not in (out / "report.html").read_text()


def test_failures_are_told_and_mistakes_are_one_line(networks, scans, tmp_path):
    (tmp_path / "broken.nii").write_text("no volume")
    failed = run(networks, tmp_path / "out", tmp_path / "broken.nii", scans / "chest7.nii.gz")
    assert failed.returncode == 1
    assert "FAILED broken: " in failed.stderr
    assert "1 scan failed; see the reasons in" in failed.stderr
    assert "chest7" in failed.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Scans that were not segmented, and why." in page
    assert "broken" in page
    wrong = run(networks, tmp_path / "out", scans, single=tmp_path)
    assert wrong.stderr.strip().splitlines()[-1].startswith(f"Error: No trained network in {tmp_path}: run the stage")
    wrong = run(networks, tmp_path / "nothing", tmp_path / "nowhere")
    assert wrong.returncode == 1
    assert wrong.stderr.strip().splitlines()[-1] == f"Error: --input={tmp_path / 'nowhere'} does not exist."
    assert not (tmp_path / "nothing").exists()


def test_a_list_needs_no_network_and_writes_nothing(scans, tmp_path):
    """Two kernels under one series UID, of which one is chosen; a scout; a file that is no scan."""
    for number, kernel in enumerate(("B31f", "B70f")):
        for path in sorted((scans / "exam").iterdir()):
            dataset = pydicom.dcmread(path)
            dataset.ConvolutionKernel, dataset.SOPInstanceUID = kernel, f"{dataset.SOPInstanceUID[:50]}.{number}"
            (tmp_path / "in").mkdir(exist_ok=True)
            dataset.save_as(tmp_path / "in" / f"{number}_{path.name}")
    dataset.ImageType, dataset.SeriesInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.3"
    dataset.save_as(tmp_path / "in/scout.dcm")
    (tmp_path / "in/notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    result = programs.run("launch.segment", "--list", "--kernel=B70f", f"--input={tmp_path / 'in'}")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line.strip().startswith("in_")}
    assert rows["in_series1_B70f"] == ["dicom", "4", "5", "x", "3.75", "x", "3.75", "96", "x", "96", "B70f"]
    assert "Left out in_series1_B31f: " in result.stdout
    assert "the kernel B31f was not chosen by --kernel." in result.stdout
    assert "scout.dcm is a scout" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 of 3 scans can be segmented; other files: 1."
    assert sorted(tmp_path.rglob("*")) == before
    assert "Give --out, a folder to write to, or --list" in programs.run("launch.segment", "--input=a").stderr


def test_where_nothing_is_segmented_it_says_so(networks, scans, tmp_path):
    folder, out = tmp_path / "scout", tmp_path / "out"
    folder.mkdir()
    dataset = pydicom.dcmread(sorted((scans / "exam").iterdir())[0])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.save_as(folder / "scout.dcm")
    result = run(networks, out, folder)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last == f"no scan was segmented (1 left out); see the reasons in {out / 'failures.csv'}."
    assert f"Written to {out}." in result.stderr
    assert "report.html" not in result.stderr
    assert not (out / "report.html").exists()
    assert pd.read_csv(out / "measurements.csv").empty


def test_scans_of_earlier_calls_do_not_count_as_segmented(networks, scans, tmp_path):
    folder, out = tmp_path / "scout", tmp_path / "out"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    dataset = pydicom.dcmread(sorted((scans / "exam").iterdir())[0])
    dataset.Modality = "MR"
    dataset.save_as(folder / "other")
    assert run(networks, out, scans / "chest7.nii.gz").returncode == 0
    result = run(networks, out, folder)
    assert result.returncode == 1
    assert f"no scan was segmented (1 left out); see the reasons in {out / 'failures.csv'}." in result.stderr
    assert "2 of 2 input files were not used (left out: 1; no scan: 1); see the reasons in" in result.stderr
    assert pd.read_csv(out / "measurements.csv")["scan"].tolist() == ["chest7"]


def test_it_starts_without_what_it_does_not_need():
    """Statistics and the report of runs take seconds to load."""
    slow = {"statsmodels", "seaborn", "radiomics", "sklearn"}
    code = f"import sys, launch.segment; print(*sorted({slow} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""

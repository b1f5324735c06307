"""Segmenting many scans with real (tiny, untrained) networks: resuming, failures, other processes."""

import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil

import jax
import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.inference import segment_scan, segment_scans, segmenter
from tests.inference import tiny_networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return tiny_networks.write(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Writes two chests, the first as DICOM and as NIfTI, and a broken file."""
    folder = tmp_path_factory.mktemp("scans")
    for number in (7, 8):
        hu, _, affine = volume.render(0, number, 5, 96)
        volume.write_nifti(folder / f"chest{number}.nii.gz", hu, affine)
        if number == 7:
            volume.write_dicom(folder / "exam", hu, affine, patient_id="p7")
    (folder / "broken.nii.gz").write_bytes(b"no volume")
    return folder


def job(networks, out, **options):
    options = segment_scan.Options(view="lungs", **options)
    return segment_scans.Job(networks / "single", networks / "multi", out, options, None, 4, None)


def write_slices(folder, stems):
    """Writes tiny grey pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        grey = np.random.default_rng(number).integers(0, 256, (32, 32), np.uint8)
        Image.fromarray(grey).save(folder / f"{stem}.png")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labels(out, name):
    return nib.load(out / "masks" / f"{name}.nii.gz").get_fdata()


def test_a_failed_scan_stops_no_other_and_a_rerun_does_what_is_missing(networks, scans, tmp_path):
    out = tmp_path / "out"
    table, failures = segment_scans.run(job(networks, out), [scans])
    assert table["scan"].tolist() == ["chest7", "chest8", "exam_series1"]
    assert failures["scan"].tolist() == ["broken"]
    assert "cannot be read as NIfTI" in failures["reason"][0]
    pd.testing.assert_frame_equal(pd.read_csv(out / "failures.csv"), failures)
    assert pd.read_csv(out / "measurements.csv")["lesion_ml"].tolist() == table["lesion_ml"].tolist()
    np.testing.assert_array_equal(labels(out, "chest7"), labels(out, "exam_series1"))
    assert labels(out, "chest7").any()
    kept = (out / "scans/chest7/scan.json").stat().st_mtime_ns
    before = (out / "masks/chest8.nii.gz").read_bytes()
    shutil.rmtree(out / "scans/chest8")
    (out / "scans/.partial-chest8/scratch").mkdir(parents=True)  # as left by a killed process
    again, _ = segment_scans.run(job(networks, out), [scans])
    pd.testing.assert_frame_equal(again, table)
    assert (out / "scans/chest7/scan.json").stat().st_mtime_ns == kept
    assert (out / "masks/chest8.nii.gz").read_bytes() == before
    assert not list(out.rglob("*partial*"))
    with pytest.raises(ValueError, match=r"another config.*\n *options\.flips: 'none' -> 'all'"):
        segment_scans.run(job(networks, out, flips="all"), [scans])


def test_scans_of_the_same_name_are_not_confused(networks, scans, tmp_path):
    for name, number in (("a", 7), ("b", 8)):
        (tmp_path / name).mkdir()
        shutil.copy(scans / f"chest{number}.nii.gz", tmp_path / name / "ct.nii.gz")
    this = job(networks, tmp_path / "out")
    first, _ = segment_scans.run(this, [tmp_path / "a"])
    table, failures = segment_scans.run(this, [tmp_path / "b"])
    assert table["source"].tolist() == [str(tmp_path / "a/ct.nii.gz")]
    assert re.search(
        r"would be named ct, like .*a/ct\.nii\.gz in .*scans/ct to segment it again", failures["reason"][0]
    )
    table, failures = segment_scans.run(this, [tmp_path / "a", tmp_path / "b"])
    assert table["source"].tolist() == [str(tmp_path / name / "ct.nii.gz") for name in "ab"]
    assert failures.empty
    pd.testing.assert_frame_equal(table[:1], first, check_dtype=False)


def test_a_changed_scan_does_not_count_as_segmented(networks, scans, tmp_path):
    path, this = tmp_path / "ct.nii.gz", job(networks, tmp_path / "out")
    shutil.copy(scans / "chest7.nii.gz", path)
    first, _ = segment_scans.run(this, [path])
    shutil.copy(scans / "chest8.nii.gz", path)
    table, failures = segment_scans.run(this, [path])
    pd.testing.assert_frame_equal(table, first)
    assert failures["reason"].tolist() == [
        f"{path} has changed since it was segmented as ct in {this.out_dir}; delete {this.out_dir / 'scans/ct'} to "
        "segment it again."
    ]
    shutil.rmtree(tmp_path / "out/scans/ct")
    table, failures = segment_scans.run(this, [path])
    assert failures.empty
    assert table["lesion_px"].tolist() != first["lesion_px"].tolist()
    os.utime(path, ns=(0, 1))  # the same size
    assert len(segment_scans.run(this, [path])[1]) == 1
    row = json.loads((tmp_path / "out/scans/ct/scan.json").read_text())
    del row["stamp"]  # as in an earlier format
    (tmp_path / "out/scans/ct/scan.json").write_text(json.dumps(row))
    again, failures = segment_scans.run(this, [path])
    assert failures.empty
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize("name", segment_scans.WRITTEN)
def test_files_of_a_user_are_not_overwritten(networks, tmp_path, name):
    write_slices(tmp_path / "ds" / name, ["images_0000_s"])
    before = contents(tmp_path)
    refused = rf"--out=.*ds (must be .* holds {name} and no config|is the same folder as --input=.*ds)"
    for path in (tmp_path / "ds" / name, tmp_path / "ds"):
        with pytest.raises(ValueError, match=refused):
            segment_scans.run(job(networks, tmp_path / "ds"), [path])
    with pytest.raises(ValueError, match=rf"--out=.*{name} is the same folder as --input=.*{name}; use a new folder"):
        segment_scans.run(job(networks, tmp_path / "ds" / name), [tmp_path / "ds", tmp_path / "ds/.." / "ds" / name])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["notes.txt", "notes.txt/out"])
def test_the_output_folder_cannot_be_a_file(networks, tmp_path, name):
    write_slices(tmp_path / "one", ["a"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=rf"{name} must be a folder, new or from .*, but .*notes\.txt is a file"):
        segment_scans.run(job(networks, tmp_path / name), [tmp_path / "one"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_results_may_lie_above_or_below_the_scans(networks, tmp_path):
    write_slices(tmp_path / "exams/one", ["a"])
    for out in (tmp_path / "exams/results", tmp_path):
        table, failures = segment_scans.run(job(networks, out), [tmp_path / "exams"])
        assert table["scan"].tolist() == ["one"]
        assert failures.empty


def test_old_files_of_a_scan_are_removed_when_it_is_segmented_again(networks, tmp_path):
    """Files of scans with similar names stay."""
    out, ends = tmp_path / "out", ["_0000_s0.png", "_0001_s1.png", "_0002_s2.png"]
    names = ["ct", "ct_0001_x", "ct_0001_y_0002_z", "ctx"]
    for name in names:
        write_slices(tmp_path / "in" / name, ["s0", "s1", "s2"])
    volume.write_nifti(tmp_path / "in/ct_0002_v.nii.gz", *volume.render(0, 7, 5, 96)[::2])
    segment_scans.run(job(networks, out), [tmp_path / "in"])
    everything = {name + end for name in names for end in ends} | {"ct_0002_v.nii.gz"}
    for kind in ("images", "masks"):
        assert {path.name for path in (out / kind).iterdir()} == everything
        (out / kind / "ct.nii.gz").touch()  # from a volume that had this name before
    for name in ("ct", "ct_0001_x"):
        shutil.rmtree(out / "scans" / name)
        (tmp_path / "in" / name / "s1.png").unlink()
    (out / "scans/.partial-ct_0002_v").mkdir()  # as left by a killed process
    table, failures = segment_scans.run(job(networks, out), [tmp_path / "in"])
    assert table["slices"].tolist() == [2, 2, 3, 5, 3]
    assert failures.empty
    for name in ("ct", "ct_0001_x"):
        everything = everything - {name + end for end in ends} | {f"{name}_0000_s0.png", f"{name}_0001_s2.png"}
    for kind in ("images", "masks"):
        assert {path.name for path in (out / kind).iterdir()} == everything


def test_masks_and_images_match_the_scans(networks, tmp_path):
    """Files of deleted scans are removed, lost files are rewritten, and other files are not touched."""
    out, names = tmp_path / "out", ["ct", "ct_0001_x", "other"]
    for name in names:
        write_slices(tmp_path / "in" / name, ["a", "b"])
    volume.write_nifti(tmp_path / "in/chest.nii.gz", *volume.render(0, 7, 5, 96)[::2])
    segment_scans.run(job(networks, out), [tmp_path / "in"])
    whole = contents(out / "masks")
    for kind in ("images", "masks"):
        (out / kind / "reader.nii.gz").write_text("a user's own")
    shutil.rmtree(tmp_path / "in/ct")
    shutil.rmtree(out / "scans/ct")
    (out / "masks/ct_0001_x_0001_b.png").unlink()
    (out / "images/chest.nii.gz").unlink()
    kept = (out / "scans/other/scan.json").stat().st_mtime_ns
    table, failures = segment_scans.run(job(networks, out), [tmp_path / "in"])
    assert table["scan"].tolist() == ["chest", "ct_0001_x", "other"]
    assert failures.empty
    left = {path: data for path, data in whole.items() if str(path) not in ("ct_0000_a.png", "ct_0001_b.png")}
    own = {pathlib.Path("reader.nii.gz"): b"a user's own"}
    assert contents(out / "masks") == {**left, **own}
    assert contents(out / "images").keys() == {**left, **own}.keys()
    assert (out / "scans/other/scan.json").stat().st_mtime_ns == kept


def test_a_lost_file_of_a_scan_outside_the_input_is_reported(networks, tmp_path):
    out = tmp_path / "out"
    for name in ("one", "two"):
        write_slices(tmp_path / name, ["a"])
    first, _ = segment_scans.run(job(networks, out), [tmp_path / "one", tmp_path / "two"])
    (out / "masks/one_0000_a.png").unlink()
    table, failures = segment_scans.run(job(networks, out), [tmp_path / "two"])
    pd.testing.assert_frame_equal(table, first)
    assert failures[["scan", "reason"]].to_numpy().tolist() == [
        ["one", f"{out}/masks/one_0000_a.png is missing: add --input={tmp_path}/one to rewrite it, or "
         f"delete {out}/scans/one to remove the scan."]
    ]  # fmt: skip


def test_results_do_not_count_as_scans(networks, scans, tmp_path):
    shutil.copy(scans / "chest7.nii.gz", tmp_path)
    for _ in range(2):
        table, failures = segment_scans.run(job(networks, tmp_path / "out"), [tmp_path])
        assert table["scan"].tolist() == ["chest7"]
        assert failures.empty
    with pytest.raises(ValueError, match=r"holds no scan: .*found nothing, or results of earlier calls"):
        segment_scans.run(job(networks, tmp_path / "out"), [tmp_path / "out"])


@pytest.mark.long
def test_other_processes_give_the_same_results(networks, scans, tmp_path):
    alone, _ = segment_scans.run(job(networks, tmp_path / "alone"), [scans])
    together, failures = segment_scans.run(job(networks, tmp_path / "together"), [scans], num_workers=1)
    pd.testing.assert_frame_equal(together, alone)
    assert failures["scan"].tolist() == ["broken"]
    for name in alone["scan"]:
        np.testing.assert_array_equal(labels(tmp_path / "together", name), labels(tmp_path / "alone", name))


def test_a_network_must_say_what_it_was_trained_on(networks, scans, tmp_path):
    for name, value, reason in (
        ("window_hu", None, r'has no "window_hu", .*Add "window_hu": \[-1150\.0, 250\.0\]'),
        ("view", "all", "has \"view\" 'all'; it must be"),
    ):
        folder = tmp_path / name
        shutil.copytree(networks, folder)
        path = folder / "single/model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        with pytest.raises(ValueError, match=reason):
            segment_scans.run(job(folder, tmp_path / "out"), [scans])
    path.write_text(json.dumps({**json.loads(path.read_text()), "view": "frame"}))
    with pytest.raises(ValueError, match=r"differ in view \(frame and lungs\): both networks"):
        segment_scans.run(job(folder, tmp_path / "out"), [scans / "chest7.nii.gz"])
    assert not (tmp_path / "out").exists()


def test_swapped_networks_are_refused(networks, scans, tmp_path):
    swapped = dataclasses.replace(
        job(networks, tmp_path / "out"), single_dir=networks / "multi", multi_dir=networks / "single"
    )
    with pytest.raises(
        ValueError, match=r"multi cannot be the single network: .* outputs classes; .*multi are swapped\."
    ):
        segment_scans.run(swapped, [scans])
    shutil.copytree(networks, tmp_path / "odd")
    path = tmp_path / "odd/multi/model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "options": {"num_classes": [3]}}))
    with pytest.raises(ValueError, match=r"odd/multi cannot be the multi network: "):
        segment_scans.run(job(tmp_path / "odd", tmp_path / "out"), [scans])
    assert not (tmp_path / "out").exists()


def test_empty_tables_have_a_header(networks, scans, tmp_path):
    table, failures = segment_scans.run(job(networks, tmp_path / "out"), [scans / "broken.nii.gz"])
    assert (len(table), len(failures)) == (0, 1)
    assert pd.read_csv(tmp_path / "out/measurements.csv").columns.tolist() == list(segment_scan.COLUMNS)
    segment_scans.run(job(networks, tmp_path / "out"), [scans / "chest7.nii.gz"])
    row = json.loads((tmp_path / "out/scans/chest7/scan.json").read_text())
    assert list(row) == [*segment_scan.COLUMNS, "identity", "stamp", "left_out"]


def test_flips_average_over_the_flipped_slice(networks, monkeypatch):
    # Unoptimised, a slice and its mirror image are summed in other orders, which these untrained networks amplify.
    optimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})
    monkeypatch.setattr(jax, "jit", optimised)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64), np.uint8)

    def probs(image, flips):
        network = segmenter.Segmenter(networks / "single", networks / "multi", flips=flips, batch_size=2)
        ((_, found),) = network.probabilities([{"image": image, "slice_id": "s"}], [0])
        return found

    plain, turned = probs(image, "none"), probs(image[:, ::-1], "none")
    found = probs(image, "left_right")
    np.testing.assert_allclose(found[0], (plain[0] + turned[0][:, ::-1]) / 2, atol=1e-5)
    assert np.abs(plain[0] - turned[0][:, ::-1]).max() > 1e-3
    np.testing.assert_allclose(found[1].sum(axis=-1), 1, atol=1e-5)
    everywhere = probs(image, "all")
    np.testing.assert_allclose(everywhere[0], probs(image[::-1, ::-1], "all")[0][::-1, ::-1], atol=1e-5)


def test_all_files_of_a_folder_are_used_or_counted(networks, tmp_path):
    """A second run, with nothing left to do, counts the same."""
    hu, _, affine = volume.render(0, 7, 5, 96)
    volume.write_dicom(tmp_path / "in/exam", hu, affine, patient_id="p7")
    slices = sorted((tmp_path / "in/exam").iterdir())
    shutil.copy(slices[0], tmp_path / "in/exam/copy")
    scout = pydicom.dcmread(slices[1])
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.3.4"
    scout.save_as(tmp_path / "in/exam/scout")
    report_only = pydicom.dcmread(slices[2])
    report_only.Modality, report_only.SeriesInstanceUID, report_only.SOPInstanceUID = "SR", "1.2.9", "1.2.9.1"
    report_only.save_as(tmp_path / "in/exam/report")
    write_slices(tmp_path / "in/pictures", ["a", "b"])
    (tmp_path / "in/broken.nii").write_bytes(b"no volume")
    (tmp_path / "in/notes.txt").write_text("mine")
    for _ in range(2):
        report = input_files.Report()
        segment_scans.run(job(networks, tmp_path / "out"), [tmp_path / "in"], report=report)
        rows = pd.read_csv(tmp_path / "out/unused_files.csv", keep_default_na=False)
        assert report.used == 5 + 2
        assert report.used + rows["files"].sum() == sum(path.is_file() for path in (tmp_path / "in").rglob("*"))
        kinds = rows.groupby("kind")["files"].sum().to_dict()
        assert kinds == {"failed": 1, "left out": 1, "left out of a series": 2, "no scan": 1}
        reasons = rows.set_index(rows["path"].map(os.path.basename))["reason"]
        assert "is a scout" in reasons["scout"]
        assert reasons[reasons.index.isin(["copy", slices[0].name])].tolist() == ["a copy of another image"]


def test_threshold_and_islands(networks, scans, tmp_path):
    found = {
        name: segment_scans.run(job(networks, tmp_path / name, **options), [scans / "chest7.nii.gz"])[0].iloc[0]
        for name, options in {
            "likeliest": {}, "low": {"threshold": 0.2}, "high": {"threshold": 0.9}, "islands": {"min_island": 400.0},
        }.items()
    }  # fmt: skip
    assert found["low"]["lesion_px"] > found["likeliest"]["lesion_px"] > found["high"]["lesion_px"]
    assert found["likeliest"]["lesion_px"] > found["islands"]["lesion_px"]
    kept = labels(tmp_path / "islands", "chest7")
    assert ((kept == 0) | (kept == labels(tmp_path / "likeliest", "chest7"))).all()


def test_options_are_stored(networks, scans, tmp_path):
    segment_scans.run(job(networks, tmp_path / "out", threshold=0.4), [scans / "chest7.nii.gz"])
    stored = json.loads((tmp_path / "out/config.json").read_text())
    assert stored["options"] == dataclasses.asdict(segment_scan.Options(view="lungs", threshold=0.4))
    assert len(stored["single_sha256"]) == 64

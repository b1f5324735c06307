"""Many scans with real (tiny, untrained) networks: resumed, failing, in other processes."""

import dataclasses
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.inference import segment_scan, segment_scans, segmenter
from tests.inference import tiny_networks


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return tiny_networks.write(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two chests, the first as DICOM and as NIfTI, and a file that is none."""
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


def labels(out, name):
    return nib.load(out / "masks" / f"{name}.nii.gz").get_fdata()


def test_one_bad_scan_stops_no_other_and_a_rerun_does_what_is_missing(networks, scans, tmp_path):
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
    (out / "scans/.partial-chest8/scratch").mkdir(parents=True)  # what a kill leaves behind
    again, _ = segment_scans.run(job(networks, out), [scans])
    pd.testing.assert_frame_equal(again, table)
    assert (out / "scans/chest7/scan.json").stat().st_mtime_ns == kept
    assert (out / "masks/chest8.nii.gz").read_bytes() == before
    assert not list(out.rglob("*partial*"))
    with pytest.raises(ValueError, match=r"another config.*\n *options\.flips: 'none' -> 'all'"):
        segment_scans.run(job(networks, out, flips="all"), [scans])


def test_scans_of_the_same_name_are_not_taken_for_one_another(networks, scans, tmp_path):
    for name, number in (("a", 7), ("b", 8)):
        (tmp_path / name).mkdir()
        shutil.copy(scans / f"chest{number}.nii.gz", tmp_path / name / "ct.nii.gz")
    this = job(networks, tmp_path / "out")
    first, _ = segment_scans.run(this, [tmp_path / "a"])
    table, failures = segment_scans.run(this, [tmp_path / "b"])
    assert table["source"].tolist() == [str(tmp_path / "a/ct.nii.gz")]
    assert re.search(r"would be called ct, as .*a/ct\.nii\.gz in .*scans/ct to segment it anew", failures["reason"][0])
    table, failures = segment_scans.run(this, [tmp_path / "a", tmp_path / "b"])
    assert table["source"].tolist() == [str(tmp_path / name / "ct.nii.gz") for name in "ab"]
    assert failures.empty
    pd.testing.assert_frame_equal(table[:1], first, check_dtype=False)


def test_results_are_not_taken_for_scans(networks, scans, tmp_path):
    shutil.copy(scans / "chest7.nii.gz", tmp_path)
    for _ in range(2):
        table, failures = segment_scans.run(job(networks, tmp_path / "out"), [tmp_path])
        assert table["scan"].tolist() == ["chest7"]
        assert failures.empty
    with pytest.raises(ValueError, match=r"holds no scan: .*found nothing, or results of earlier calls"):
        segment_scans.run(job(networks, tmp_path / "out"), [tmp_path / "out"])


def test_processes_give_the_same(networks, scans, tmp_path):
    alone, _ = segment_scans.run(job(networks, tmp_path / "alone"), [scans])
    together, failures = segment_scans.run(job(networks, tmp_path / "together"), [scans], num_workers=1)
    pd.testing.assert_frame_equal(together, alone)
    assert failures["scan"].tolist() == ["broken"]
    for name in alone["scan"]:
        np.testing.assert_array_equal(labels(tmp_path / "together", name), labels(tmp_path / "alone", name))


def test_a_network_must_say_what_it_was_trained_on(networks, scans, tmp_path):
    for name, value, reason in (
        ("window_hu", None, r'has "window_hu" None: .*Add "window_hu": \[-1150\.0, 250\.0\]'),
        ("view", "all", "has \"view\" 'all'; add"),
    ):
        folder = tmp_path / name
        shutil.copytree(networks, folder)
        path = folder / "single/model.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        with pytest.raises(ValueError, match=reason):
            segment_scans.run(job(folder, tmp_path / "out"), [scans])
    path.write_text(json.dumps({**json.loads(path.read_text()), "view": "frame"}))
    with pytest.raises(ValueError, match=r"differ in view \(frame and lungs\): the two stages"):
        segment_scans.run(job(folder, tmp_path / "out"), [scans / "chest7.nii.gz"])
    assert not (tmp_path / "out").exists()


def test_flips_average_over_the_turned_slice(networks):
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

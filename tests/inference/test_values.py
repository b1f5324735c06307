"""launch.phenotypes can measure every scan that launch.segment accepts."""

import hashlib
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import ct, survey
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find, nifti, scan
from ssinfnet_jax.inference import results, segment_scan
from tests.inference import stand_in
from tests.inference.test_geometry import affine, chest, segment


def write(path, values, dtype=np.float32):
    nib.save(nib.Nifti1Image(values.astype(dtype), affine("LPS", (0.8, 0.9, 2))), path)
    return path


def measured(out, preset):
    """Reads every slice like launch.phenotypes, as (values, classes); raises if one is refused."""
    items = folder.items(out / "images", out / "masks", preset=preset)
    settings = phenotypes.make(preset, {})
    found = [item.source()[:2] for item in items]
    for values, classes in found:
        phenotypes.extract(values, classes, settings=settings, spacing_mm=(0.9, 0.8))
    return found


@pytest.mark.parametrize(
    "padding", [-2000, -3024, -4096, -4097, -8192, -32768, -99999, np.finfo(np.float32).min, np.nan]
)
def test_scans_with_accepted_padding_are_measured(tmp_path, padding):
    """Programs fill the corners outside the field of view in many ways; this used to lose 20 of 40 slices."""
    hu = chest().clip(-1000, None).astype(np.float32)
    hu[:3] = padding
    row, mask = segment(write(tmp_path / "v.nii.gz", hu), tmp_path / "out")
    kept = padding >= ct.LEAST_HU
    wanted = hu.copy()
    wanted[:3] = padding if kept else -1024
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out/images/v.nii.gz").dataobj), wanted)
    np.testing.assert_array_equal(nib.load(mask).get_fdata(), stand_in.expected_of_hu(wanted))
    assert row["lowest_value"] == wanted.min()
    assert row["mean_value"] == pytest.approx(wanted.mean(dtype=np.float64), abs=0.01)
    said = f"{padding:g} is not a HU value: it counts as padding, that is, air"
    assert (said in row["notes"]) == (not kept and not np.isnan(padding))
    found = measured(tmp_path / "out", "hu")
    assert len(found) == hu.shape[2]


def test_several_values_below_any_scanners_range_are_not_padding(tmp_path):
    """HU times ten, or interpolated padding: replaced with air, it would pass as a chest."""
    for name, values in {"tenfold": chest() * 10.0, "two": np.where(chest() < -700, -9000, chest() - 8500.0)}.items():
        path = write(tmp_path / f"{name}.nii", values)
        with pytest.raises(
            ValueError, match=rf"{name}\.nii holds -\d+, -\d+ and similar values: below -4096 HU only one"
        ):
            survey.survey(nifti.read(path, scratch_dir=tmp_path), None, stand_in.WINDOW_HU)


@pytest.mark.parametrize(
    ("low", "high"), [(-500, 400), (-500.4, 32767), (-4096, 3071), (-1024, -1023), (-3024, 32767.0)]
)
def test_the_limits_of_accepted_values_are_measured(tmp_path, low, high):
    values = np.linspace(low, high, 6 * 5 * 4).reshape(6, 5, 4).astype(np.float32)
    segment(write(tmp_path / "v.nii", values), tmp_path / "out")
    assert len(measured(tmp_path / "out", "hu")) == 4


@pytest.mark.parametrize("high", [1.5, 2, 254.6, 255])
def test_the_limits_of_windowed_volumes_are_measured(tmp_path, high):
    """Grey levels that round to 0 and 1 would pass as the range 0 to 1, and be stretched to 255."""
    values = np.linspace(0, high, 6 * 5 * 4).reshape(6, 5, 4).astype(np.float32)
    values.flat[0] = 0.5 if high < 2 else 0
    segment(write(tmp_path / "v.nii", values), tmp_path / "out", input_kind="uint8")
    for (found, _), index in zip(measured(tmp_path / "out", "eight_bit"), range(4), strict=True):
        np.testing.assert_array_equal(found, np.rint(values[:, :, index].T))


def test_a_volume_that_rounds_to_two_grey_levels_is_refused(tmp_path):
    path = write(tmp_path / "v.nii", np.linspace(0, 1.4, 120).reshape(6, 5, 4))
    with pytest.raises(ValueError, match=r"from 0 to 1\.4: not windowed slices"):
        survey.survey(nifti.read(path, scratch_dir=tmp_path), "uint8", stand_in.WINDOW_HU)


@pytest.mark.parametrize("padding", [np.nan, -8192])
@pytest.mark.parametrize("values", [np.linspace(0, 13361, 100), np.linspace(-160, 240, 100)], ids=["MR", "soft tissue"])
def test_unmeasured_voxels_do_not_count_as_the_air_of_a_chest(tmp_path, values, padding):
    """Resampled MR surrounded by NaN used to pass as CT."""
    path = write(tmp_path / "v.nii", np.concatenate([np.full(20, padding), values]).reshape(6, 5, 4))
    found = rf"v\.nii holds values from {values.min():g} to {values.max():g}: not Hounsfield units"
    with pytest.raises(ValueError, match=found):
        survey.survey(nifti.read(path, scratch_dir=tmp_path), None, stand_in.WINDOW_HU)


@pytest.mark.parametrize("padding", [np.nan, -8192])
def test_windowed_volumes_must_not_hold_padding(tmp_path, padding):
    path = write(tmp_path / "v.nii", np.concatenate([np.full(20, padding), np.arange(100)]).reshape(6, 5, 4))
    with pytest.raises(ValueError, match=r"v\.nii holds NaN or padding, which is not a grey level; set it to 0"):
        survey.survey(nifti.read(path, scratch_dir=tmp_path), "uint8", stand_in.WINDOW_HU)


# Limits of sizes and names.


def test_photon_counting_volumes_are_not_too_large():
    for shape in ((1024, 1024, 1500), (1024, 1024, 2048), (512, 512, 4096)):
        assert scan.check_grid(np.eye(4), shape, "v").shape == shape
    for shape in ((1024, 1024, 2049), (4096, 4096, 129), (4097, 1, 1)):
        with pytest.raises(
            ValueError, match=r"at most 4096, a scan 2147483648 \(2048 slices of 1024 x 1024\)\. If the"
        ):
            scan.check_grid(np.eye(4), shape, "v")


@pytest.mark.parametrize("stem", ["x" * 251, "é" * 125, "x" * 121, "x" * 120])
def test_names_of_pictures_as_long_as_the_file_system_allows(tmp_path, stem):
    (tmp_path / ("folder" * 42)).mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    Image.fromarray(grey).save(tmp_path / ("folder" * 42) / f"{stem}.png")
    Image.fromarray(grey).save(tmp_path / ("folder" * 42) / f"{stem[:-1]}y.png")
    (source,) = find.find([tmp_path])
    segment_scan.segment(source, stand_in.Thresholds(), segment_scan.Options(), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/masks").iterdir())
    hashed = hashlib.sha256(stem.encode()).hexdigest()[:8]
    ending = f"_{stem}.png" if len(stem.encode()) <= 120 else f"_{hashed}.png"
    assert len(names) == 2
    assert sum(name.endswith(ending) for name in names) == 1
    views = results.load_views(tmp_path / "out", source.name, stand_in.WINDOW_HU)
    np.testing.assert_array_equal(views.images[0], grey)
    assert sorted(views.files) == sorted([f"{stem}.png", f"{stem[:-1]}y.png"])  # whole, unlike the masks' names


def test_names_of_volumes_as_long_as_the_file_system_allows(tmp_path):
    path = write(tmp_path / ("v" * 248 + ".nii.gz"), chest())
    row, mask = segment(path, tmp_path / "out")
    assert (row["scan"], mask.is_file()) == ("v" * 80, True)


@pytest.mark.parametrize("window", [(-1000, 1700), (-1024, 1300), (-1150, 1500)])
def test_pictures_of_another_window_are_refused_with_the_window(tmp_path, window):
    """Networks take the dim chest wall of such pictures for ground glass."""
    hu, _, _ = volume.render(0, 7, 3, 96)
    for number, view in enumerate(np.moveaxis(hu, -1, 0)):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(ct.window_hu(view, *window)).save(tmp_path / f"in/{number}.png")
    with pytest.raises(ValueError, match=r"in was exported with another window: soft tissue has grey \d+, but") as told:
        segment(tmp_path / "in", tmp_path / "out", force=False)
    low, high = map(float, re.search(r"suggest a window of (-?\d+),(\d+) HU\.", str(told.value)).groups())
    assert low == pytest.approx(window[0], abs=160)  # its lungs are denser than -860 HU
    assert high == pytest.approx(window[1], abs=250)
    assert segment(tmp_path / "in", tmp_path / "out", force=True)[0]["slices"] == 3


@pytest.mark.parametrize("window", [(ct.LOW_HU, ct.HIGH_HU), (-1200, 300), (-1000, 200), (-1350, 150)])
def test_pictures_of_lung_windows_are_segmented(tmp_path, window):
    hu, _, _ = volume.render(0, 7, 3, 96)
    Image.fromarray(ct.window_hu(hu[..., 1], *window)).save(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", tmp_path / "out", force=False)[0]["slices"] == 1


@pytest.mark.parametrize("name", ["flat", "gradient", "noise"])
def test_pictures_without_two_peaks_are_not_judged(tmp_path, name):
    grey = {"flat": np.full((64, 64), 90.0), "gradient": np.linspace(0, 120, 64)[None].repeat(64, 0),
            "noise": np.random.default_rng(0).integers(0, 256, (64, 64))}[name]  # fmt: skip
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", tmp_path / "out", force=False)[0]["slices"] == 1

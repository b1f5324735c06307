"""What contradicts itself is told or refused: headers, turned pictures, volumes without lungs, unknown grey levels."""

import re

import nibabel as nib
import numpy as np
import pytest
from PIL import ExifTags, Image

from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import ct, input_files
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find, pictures
from ssinfnet_jax.data.readers.dicom import series as dicom
from ssinfnet_jax.inference import segment_scan
from tests.inference import stand_in

PLACE = np.diag([-0.7, -0.7, 2.0, 1])


def segment(path, out, choice=None, **options):
    (source,) = find.find([path], choice=choice)
    row = segment_scan.segment(source, stand_in.Thresholds(), segment_scan.Options(), out, **options)
    return row, source.name


def notes(folder, place=PLACE, side=256, **changes):
    """Returns the notes on a series with changed elements."""

    def change(dataset, k):
        for name, value in changes.items():
            setattr(dataset, name, value)

    hu = np.random.default_rng(0).integers(-1000, 400, (side, side, 4)).astype(np.int16)
    volume.write_dicom(folder, hu, place, patient_id="p1", change=change)
    return dicom.read(sorted(folder.iterdir())).notes


def upside_down(**changes):
    return {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0], **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"SliceThickness": 4.0}, None),  # reconstructed with overlap
        ({"SliceThickness": 1.0}, r"the slices are 2 mm apart, but 1 mm thick .*: what lies between them is not seen"),
        ({"SliceThickness": 10.0}, r"the slices are 2 mm apart, but 10 mm thick .*: they overlap, or one"),
        ({"PixelSpacing": [0.07, 0.07]}, r"the images are 17\.92 x 17\.92 mm by PixelSpacing .*, which no chest CT is"),
        ({"PixelSpacing": [7, 7]}, r"the images are 1792 x 1792 mm by PixelSpacing"),
        ({"ReconstructionDiameter": 180}, None),
        ({"ReconstructionDiameter": 90}, r"179\.2 x 179\.2 mm by .*, but were reconstructed with a diameter of 90 mm"),
        (
            {"PatientPosition": "HFP"},
            r"HFP says that the patient lies on the face, but .* turns the images upside down",
        ),
        (upside_down(PatientPosition="HFP"), None),
        (upside_down(), r"HFS says that the patient lies on the back, but ImageOrientationPatient .* was used"),
        (upside_down(PatientPosition="FFS"), r"FFS says that the patient lies on the back"),
        ({"PatientPosition": ""}, None),
    ],
)
def test_headers_that_contradict_themselves_are_told(tmp_path, changes, told):
    found = notes(tmp_path / "exam", **changes)
    if told is None:
        assert found == ()
    else:
        assert len(found) == 1
        assert re.search(told, found[0])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_turned_pictures_are_told_and_read_as_stored(tmp_path, suffix):
    grey = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(grey).save(tmp_path / f"in/a{suffix}", exif=exif)
    Image.fromarray(grey).save(tmp_path / f"in/b{suffix}")
    (source,) = find.find([tmp_path / "in"])
    scan = source.open(tmp_path)
    assert scan.read(0).shape == (20, 30)
    assert scan.notes[0].startswith(f"1 pictures have an EXIF orientation, such as a{suffix} (6), by which viewers")
    report = input_files.Report()
    for name in "ab":
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray((grey > 128).astype(np.uint8)).save(tmp_path / f"masks/{name}.png")
    folder.items(tmp_path / "in", tmp_path / "masks", report=report)
    assert ["EXIF orientation" in note for note in report.notes] == [True]


def body(inside):
    """Returns HU [64, 64, 8] of a cylinder of soft tissue in air, with `inside` at its middle."""
    i, j, _ = np.indices((64, 64, 8)) - 32
    hu = np.where(i**2 + j**2 < 28**2, 40, -1000).astype(np.int16)
    hu[20:44, 26:38] = inside
    return hu + np.random.default_rng(0).integers(-15, 16, hu.shape).astype(np.int16)


@pytest.mark.parametrize(
    ("what", "inside", "has_lungs"),
    [("head without air", 900, False), ("bowel or sinuses", -1000, False), ("lungs", -850, True)],
)
@pytest.mark.parametrize("kind", ["hu", "uint8"])
def test_volumes_without_lungs_are_refused_unless_forced(tmp_path, what, inside, has_lungs, kind):
    hu = body(inside)
    values = hu if kind == "hu" else ct.window_hu(hu, -1150, 250)
    nib.save(nib.Nifti1Image(values, PLACE * [4, 4, 1, 1]), tmp_path / "v.nii")
    if has_lungs:
        assert "no lungs" not in segment(tmp_path / "v.nii", tmp_path / "out", input_kind=kind)[0]["notes"]
        return
    with pytest.raises(ValueError, match=r"No lungs were found in .*v\.nii: a head, an abdomen.* --force segments it"):
        segment(tmp_path / "v.nii", tmp_path / "out", input_kind=kind)
    row, _ = segment(tmp_path / "v.nii", tmp_path / "out", input_kind=kind, force=True)
    assert "no lungs were found" in row["notes"]


@pytest.mark.parametrize(
    ("to_hu", "stored"),
    [
        (pictures.ToHu(offset=-1024), lambda hu: (hu + 1024).astype(np.uint16)),
        (pictures.ToHu(slope=0.1, offset=-2000), lambda hu: ((hu + 2000) * 10).astype(np.uint16)),
        (pictures.ToHu(window_hu=(-1500, 1500)), lambda hu: np.rint((hu + 1500) / 3000 * 65535).astype(np.uint16)),
        (pictures.ToHu(window_hu=(-1500, 500)), lambda hu: np.rint((hu + 1500) / 2000 * 255).astype(np.uint8)),
    ],
    ids=["offset", "slope", "window of 16 bits", "window of 8 bits"],
)
def test_pictures_in_other_units_become_hu(tmp_path, to_hu, stored):
    hu = np.random.default_rng(0).integers(-1000, 400, (20, 30))
    Image.fromarray(stored(hu)).save(tmp_path / "a.png")
    row, name = segment(tmp_path / "a.png", tmp_path / "out", find.Choice(to_hu=to_hu))
    assert row["kind"] == "hu"
    assert f"pictures were read as HU: {to_hu}" in row["notes"]
    grey = np.array(Image.open(tmp_path / f"out/images/{name}_0000_a.png"))
    difference = grey.astype(int) - ct.window_hu(hu, *stand_in.WINDOW_HU)
    assert np.abs(difference).max() <= (2 if stored(hu).dtype == np.uint8 else 1)
    assert np.abs(difference).mean() < 0.6


def test_a_deep_picture_without_a_rule_names_the_flags(tmp_path):
    Image.fromarray(np.full((20, 30), 1000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has Pillow mode 'I;16'.* --hu_slope and --hu_offset, or --hu_window"):
        segment(tmp_path / "a.png", tmp_path / "out")

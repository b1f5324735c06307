"""Bad input of each kind is a finding that names the file and the remedy, and hides nothing else."""

import re

import numpy as np
import pytest
from PIL import Image

from ssinfnet_jax.data import ct, datasets
from ssinfnet_jax.data.datasets.folder import description, inspection
from tests.data.folder import layouts


@pytest.fixture(scope="module")
def of():
    return layouts.patients()


def inspect(root):
    return inspection.inspect(description.find(root), root)


def told(inspected, level):
    return [f"{finding.kind}: {finding.sentence}" for finding in inspected.findings.of(level)]


def shift(values):
    """Moves a mask by a third of the frame, out of the lungs."""
    return np.roll(values, layouts.SIZE // 3, axis=1)


def describe(root, old, new):
    path = root / "dataset.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def mask(root, one, values, affine=None):
    layouts.nifti(root / f"masks/{one.name}_seg.nii.gz", values, one.affine if affine is None else affine)


def image(root, one, hu, name=None):
    layouts.nifti(root / f"images/{name or one.name}.nii.gz", hu, one.affine)


def test_sound_data_have_no_errors_and_no_warnings(tmp_path, of):
    for name, write in layouts.LAYOUTS.items():
        inspected = inspect(write(tmp_path / name, of))
        assert not told(inspected, "error") + told(inspected, "warning"), name
        assert len(inspected.images) == (9 if name == "pictures" else 3)


TEST = "{images: 'test/{id}.nii.gz', masks: 'truth/{id}.nii.gz'}"
# What is done to the first patient's files -> level and finding.
BAD = {
    "mask without image": (
        lambda root, one: (root / f"images/{one.name}.nii.gz").unlink(),
        "error", r"pairing: \S+p7_seg\.nii\.gz is a classes mask without an image; add the image",
    ),
    "image without mask": (
        lambda root, one: (root / f"masks/{one.name}_seg.nii.gz").unlink(),
        "error", r"no mask: \S+images/p7\.nii\.gz has no classes mask; add the mask, or move the image to `unlabeled`",
    ),
    "other geometry": (
        lambda root, one: mask(root, one, one.classes, one.affine @ np.diag([1, 1, 1.1, 1])),
        "error", r"geometry: \S+p7\.nii\.gz .*does not lie on its image .* mm apart.*voxel_by_voxel",
    ),
    "other size": (
        lambda root, one: mask(root, one, one.classes[:, :, 1:]),
        "error", r"geometry: .*has \(2, 64, 64\) voxels .* draw or resample the label",
    ),
    "unnamed label": (
        lambda root, one: mask(root, one, one.classes * 2),
        "error", r"unnamed label: \S+p7_seg\.nii\.gz holds the values 4, which labels \(1: ggo, 2: consolidation\) do",
    ),
    "float labels": (
        lambda root, one: mask(root, one, one.classes * np.float32(0.25)),
        "error", r"float labels: \S+p7_seg\.nii\.gz holds 0\.25, 0\.5, which are no whole numbers.*nearest neighbour",
    ),
    "shifted mask": (
        lambda root, one: mask(root, one, shift(one.classes)),
        "warning", r"mask off the lungs: \S+p7_seg\.nii\.gz marks lesions of which \d+% lie outside of the lungs",
    ),
    "empty mask": (
        lambda root, one: mask(root, one, one.classes * 0),
        "warning", r"empty mask: \S+p7_seg\.nii\.gz marks no lesion in any slice; check",
    ),
    "inverted mask": (
        lambda root, one: mask(root, one, (one.classes == 0).astype(np.uint8)),
        "warning", r"large mask: \S+p7_seg\.nii\.gz marks \d+% of a slice as lesion; check which value is the back",
    ),
    "no rescale": (
        lambda root, one: image(root, one, one.hu + 1024),
        "error", r"values: \S+p7\.nii\.gz holds values from 0 to .*not Hounsfield units.*Apply the rescale slope",
    ),
    "rescaled twice": (
        lambda root, one: image(root, one, one.hu - 1024),
        "warning", r"HU offset: \S+p7\.nii\.gz holds -2048 to .*hardly any soft tissue .*apply the rescale slope",
    ),
    "broken file": (
        lambda root, one: (root / f"images/{one.name}.nii.gz").write_bytes(b"no volume"),
        "error", r"cannot be read: \S+p7\.nii\.gz .*cannot be read as NIfTI",
    ),
    "truncated file": (
        lambda root, one: (root / f"masks/{one.name}_seg.nii.gz").write_bytes(
            (root / f"masks/{one.name}_seg.nii.gz").read_bytes()[:200]),
        "error", r"cannot be read: .*p7_seg\.nii\.gz is truncated",
    ),
    "empty file": (
        lambda root, one: (root / f"images/{one.name}.nii.gz").write_bytes(b""),
        "error", r"cannot be read: .*p7\.nii\.gz cannot be read \(empty\); copy",
    ),
    "copy": (
        lambda root, one: layouts.nifti(root / "more/other.nii.gz", one.hu, one.affine),
        "warning", r"copy: \S+other\.nii\.gz is the same image as \S+p7\.nii\.gz, of another patient \('p7'\); take",
    ),
    "copy in the test part": (
        lambda root, one: [
            layouts.nifti(root / "test/other.nii.gz", one.hu, one.affine),
            layouts.nifti(root / "truth/other.nii.gz", one.classes, one.affine),
            describe(root, "unlabeled:", f"test: {TEST}\nunlabeled:"),
        ],
        "error", r"copy in two parts: \S+other\.nii\.gz is the same image as \S+p7\.nii\.gz, and the one is labeled",
    ),
    "patient in two parts": (
        lambda root, one: layouts.nifti(root / f"more/{one.name}.nii.gz", one.hu[::-1], one.affine),
        "error", r"patient in two parts: \S+more/p7\.nii\.gz is of patient 'p7' and unlabeled, but \S+images/p7.* is",
    ),
    "two names": (
        lambda root, one: layouts.nifti(root / "more/P-007.nii.gz", one.hu[::-1], one.affine),
        "warning", r"one patient, two names: \S+P-007\.nii\.gz is of patient 'P-007', and other images are of 'p7'",
    ),
    "two files of a name": (
        lambda root, one: [
            describe(root, "images/{id}.nii.gz", "images/{id}.{nifti}"),
            layouts.nifti(root / f"images/{one.name}.nii", one.hu, one.affine),
        ],
        "error", r"pairing: \S+p7\.nii\.gz has the same name as \S+p7\.nii; keep one of them",
    ),
    "one mask of two images": (
        lambda root, one: describe(root, "masks/{id}_seg.nii.gz", f"masks/{one.name}_seg.nii.gz"),
        "error", r"pairing: \S+p7_seg\.nii\.gz is the classes mask of 2 images: p7\.nii\.gz, p11\.nii\.gz; give",
    ),
    "pattern of nothing": (
        lambda root, one: describe(root, "more/", "mroe/"),
        "error", r"pairing: \S+ has no file that matches the pattern 'mroe/\{id\}\.\{nifti\}' of the unlabeled images",
    ),
    "swapped labels": (
        lambda root, one: describe(root, "{1: ggo, 2: consolidation}", "{2: ggo, 1: consolidation}"),
        "warning", r"swapped labels: \S+ has consolidation that is darker than ground glass \(mean grey level \d+ and",
    ),
    "label map as image": (
        lambda root, one: image(root, one, one.classes),
        "error", r"values: \S+images/p7\.nii\.gz holds values from 0 to 2: .*looks like a label map",
    ),
    "odd spacing": (
        lambda root, one: layouts.nifti(root / "more/q.nii", one.hu[::-1], np.diag([-1, -1, 40, 1.0])),
        "warning", r"spacing: \S+q\.nii has 40 mm between slices; a chest CT has 0\.2 to 15 mm; correct the header",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_found_and_hides_nothing(tmp_path, of, name):
    spoil, level, wanted = BAD[name]
    root = layouts.nifti_pairs(tmp_path / "source", of)
    spoil(root, of[0])
    inspected = inspect(root)
    found = told(inspected, level)
    assert any(re.match(wanted, text) for text in found), found
    if level == "error" and name != "one mask of two images":
        assert "p11" in {seen.item.name for seen in inspected.images}  # the others are read all the same
        with pytest.raises(ValueError, match=r"has \d+ errors, which `python -m launch\.check_data` lists"):
            datasets.prepare("folder", "default", source_dir=root, prepared_dir=tmp_path)
    else:
        assert not [text for text in told(inspected, "error") if name != "one mask of two images"]


BAD_PICTURES = {
    "other size": (
        lambda path: layouts.picture(path, np.zeros((60, 64), np.uint8)),
        "error", r"geometry: .*ggo/p7_000\.png is \d+x\d+ but its image .* is 64x64",
    ),
    "several values": (
        lambda path: layouts.picture(path, np.arange(64 * 64).reshape(64, 64).astype(np.uint8)),
        "error", r"unnamed label: \S+p7_000\.png is a ggo mask but holds the values 1, 2, 3.* and 247 more; give the",
    ),
    "on air": (
        lambda path: layouts.picture(path, (np.indices((64, 64)).sum(axis=0) < 16).astype(np.uint8)),
        "warning", r"mask on air: \S+p7_000\.png marks lesions of which \d+% are as dark as the air around the body",
    ),
    "JPG": (
        lambda path: path.rename(path.with_suffix(".jpg")),
        "error", r"mask format: \S+p7_000\.jpg is a JPG, whose compression changes values along borders; save masks as",
    ),
    "broken": (lambda path: path.write_bytes(b"x"), "error", r"cannot be read: .*p7_000\.png is not a readable image"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_found(tmp_path, of, name):
    spoil, level, wanted = BAD_PICTURES[name]
    root = layouts.pictures(tmp_path, of)
    describe(root, "ggo/{patient}_{slice}.png", "ggo/{patient}_{slice}.{picture}")
    describe(root, "consolidation/", "cons/")
    (root / "consolidation").rename(root / "cons")
    if name == "on air":
        layouts.picture(root / "cons/p7_000.png", np.zeros((64, 64), np.uint8))
    spoil(root / "ggo/p7_000.png")
    inspected = inspect(root)
    assert any(re.match(wanted, text) for text in told(inspected, level)), told(inspected, level)
    assert len(inspected.images) >= 8


def test_dicom_seg_of_another_series_is_found(tmp_path, of):
    root = layouts.dicom_seg_pairs(tmp_path, of)
    layouts.volume.write_dicom(root / "ct/p7", of[0].hu[:, :, :2], of[0].affine, patient_id="p7")
    (root / "ct/p7/0002.dcm").unlink()
    found = told(inspect(root), "error")
    assert len(found) == 1
    assert re.match(r"\S.*seg/p7\.dcm has segments outside of its image|.*does not lie on the voxels", found[0]), found


def test_data_without_any_mask_are_told(tmp_path, of):
    root = layouts.describe(tmp_path, "images: 'images/{id}.nii'\n")
    layouts.nifti(root / "images/a.nii", of[0].hu, of[0].affine)
    (found,) = told(inspect(root), "warning")
    assert "has no image with masks: a network can be pretrained on it, not trained; name the masks" in found


def test_files_that_no_pattern_matches_are_told(tmp_path, of):
    root = layouts.nifti_pairs(tmp_path, of)
    (root / "images/notes.txt").write_text("mine")
    (found,) = [text for text in told(inspect(root), "note") if text.startswith("not used")]
    assert found.endswith("images holds 1 .txt files that no pattern matches: notes.txt.")


def test_masks_may_be_missing_where_the_description_says_so(tmp_path, of):
    root = layouts.nifti_pairs(tmp_path, of)
    (root / "masks/p7_seg.nii.gz").unlink()
    for key, part, has_lesion in (("unlabeled", "unlabeled", False), ("empty", "labeled", True)):
        description_of = (root / "dataset.yaml").read_text()
        (root / "dataset.yaml").write_text(description_of + f"without_mask: {key}\n")
        (seen,) = [seen for seen in inspect(root).images if seen.item.name == "p7"]
        assert (seen.item.part, seen.has_lesion) == (part, has_lesion)
        (root / "dataset.yaml").write_text(description_of)


def test_the_table_says_what_was_found(tmp_path, of):
    table = inspect(layouts.nifti_pairs(tmp_path, of)).table().set_index("name")
    one = of[0]
    assert table.loc["p7", ["image", "masks"]].tolist() == ["images/p7.nii.gz", "masks/p7_seg.nii.gz"]
    assert table.loc["p7", ["slices", "rows", "columns"]].tolist() == [3, 64, 64]
    assert table.loc["p7", ["slice_mm", "row_mm"]].tolist() == [5, 5.625]
    assert table.loc["p7", ["low", "high"]].tolist() == [one.hu.min(), one.hu.max()]
    for value, name in ((1, "ggo"), (2, "consolidation")):
        assert table.loc["p7", f"{name}_px"] == (one.classes == value).sum()
        assert table.loc["p7", f"{name}_slices"] == (one.classes == value).any(axis=(0, 1)).sum()
    assert table.loc["p3", ["lesion_px", "ggo_px"]].isna().all()


def test_a_lung_mask_judges_place_and_crops(tmp_path, of):
    root = layouts.nifti_pairs(tmp_path / "source", of)
    lung = np.zeros_like(of[0].classes)
    lung[10:50, 20:40] = 1
    for one in of[:2]:
        layouts.nifti(root / f"lung/{one.name}.nii.gz", lung, one.affine)
    describe(
        root, "masks: masks/{id}_seg.nii.gz", "masks: {classes: 'masks/{id}_seg.nii.gz', lung: 'lung/{id}.nii.gz'}"
    )
    (root / "dataset.yaml").write_text((root / "dataset.yaml").read_text() + "view: lungs\n")
    inside = (of[0].classes > 0) & (lung > 0)
    share = 1 - inside.sum() / (of[0].classes > 0).sum()
    found = [text for text in told(inspect(root), "warning") if "p7_seg" in text]
    assert (f"{share:.0%} lie outside of the lungs" in "".join(found)) == (share > 0.25)
    datasets.prepare("folder", "default", source_dir=root, prepared_dir=tmp_path)
    dataset = datasets.load("folder", "default", prepared_dir=tmp_path)
    assert datasets.view("folder", "default", prepared_dir=tmp_path) == "lungs"
    margin = round(0.04 * layouts.SIZE)
    box = np.s_[20 - margin : 40 + margin, 10 - margin : 50 + margin]
    record = dataset.records[0]
    hu = of[0].view(of[0].hu)[0] if record["patient_id"] == "p7" else of[1].view(of[1].hu)[0]
    np.testing.assert_array_equal(record["image"], ct.window_hu(hu)[box])
    assert record["classes"].shape == record["image"].shape


@pytest.mark.parametrize("scale", [1, 255])
def test_grey_volumes_are_read_as_they_are_or_from_their_window(tmp_path, of, scale):
    one, low, high = of[0], -1400.0, 400.0
    grey = np.rint((one.hu.clip(low, high) - low) / (high - low) * 255)
    root = layouts.describe(tmp_path / "source", "images: 'images/{id}.nii'\n")
    layouts.nifti(root / "images/a.nii", np.float32(grey / scale), one.affine)
    for text, expected in (
        ("", grey),
        (f"window_hu: [{low}, {high}]\n", ct.window_hu(low + grey * (high - low) / 255)),
    ):
        layouts.describe(root, f"images: 'images/{{id}}.nii'\n{text}")
        (seen,) = inspect(root).images
        assert seen.values == ("unit" if scale == 255 else "grey")
        found = seen.to_grey(np.float32(one.view(grey)[1] / scale))
        np.testing.assert_array_equal(found, one.view(expected)[1])


@pytest.mark.parametrize(
    ("values", "reason"), [("hu", "not Hounsfield units"), ("grey", "not windowed slices of 0 to 255 grey levels")]
)
def test_values_that_are_not_what_the_description_says_are_errors(tmp_path, of, values, reason):
    one = of[0]
    root = layouts.describe(tmp_path, f"images: 'images/{{id}}.nii'\nvalues: {values}\n")
    layouts.nifti(root / "images/a.nii", ct.window_hu(one.hu) if values == "hu" else one.hu, one.affine)
    (found,) = told(inspect(root), "error")
    assert reason in found


def test_a_broken_file_of_a_series_is_an_error(tmp_path, of):
    root = layouts.dicom_seg_pairs(tmp_path, of)
    last = root / "ct/p3/0002.dcm"
    last.write_bytes(last.read_bytes()[:300])
    (found,) = told(inspect(root), "error")
    assert "0002.dcm" in found


@pytest.mark.parametrize(("image_end", "mask_end"), [("", "_seg"), ("_ct", "")])
def test_images_and_masks_may_lie_in_one_folder(tmp_path, of, image_end, mask_end):
    for one in of:
        layouts.nifti(tmp_path / f"{one.name}{image_end}.nii.gz", one.hu, one.affine)
        layouts.nifti(tmp_path / f"{one.name}{mask_end}.nii.gz", one.classes, one.affine)
    text = f"images: '{{id}}{image_end}.nii.gz'\nmasks: '{{id}}{mask_end}.nii.gz'\nlabels: {layouts.LABELS}\n"
    inspected = inspect(layouts.describe(tmp_path, text))
    assert not told(inspected, "error")
    assert sorted(seen.item.name for seen in inspected.images) == ["p11", "p3", "p7"]


def test_pictures_of_another_window_are_warned_of_until_the_description_names_it(tmp_path, of):
    root = layouts.pictures(tmp_path, of)
    for path in (root / "more").iterdir():
        hu = np.asarray(Image.open(path)) / 255 * (ct.HIGH_HU - ct.LOW_HU) + ct.LOW_HU
        layouts.picture(path, ct.window_hu(hu, -1024, 1700))
    (found,) = {re.sub(r"\S+png|\d+", "", text) for text in told(inspect(root), "warning") if "window" in text}
    assert found.startswith(
        "window:  was exported with another window: soft tissue has grey , but about  in the window"
    )
    describe(root, "{picture}'}\n", "{picture}', window_hu: [-1024, 1700]}\n")
    assert not [text for text in told(inspect(root), "warning") if "window" in text]

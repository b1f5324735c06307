import os

import nibabel as nib
import numpy as np
import openpyxl
import pandas as pd
import pytest
from PIL import Image

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.phenotypes import folder
from ssinfnet_jax.data import ct, input_files


def slice_of(seed, shape=(20, 24)):
    rng = np.random.default_rng(seed)
    classes = np.zeros(shape, np.uint8)
    classes[3:9, 4:14], classes[12:17, 2:12] = 1, 2
    return rng.integers(0, 255, shape).astype(np.uint8), classes


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def slices(tmp_path):
    """images/ and masks/ of two patients with two slices each, and one slice in no folder."""
    for seed, name in enumerate(["P1/a", "P1/b", "P2/a", "P2/b", "alone"]):
        image, classes = slice_of(seed)
        write(tmp_path / "images" / f"{name}.png", image)
        write(tmp_path / "masks" / f"{name}.PNG", classes)
    (tmp_path / "images" / "notes.txt").write_text("other files do not count")
    return tmp_path


def found_in(tmp_path, **options):
    return folder.items(tmp_path / "images", tmp_path / "masks", **options)


def test_slices_are_matched_by_name(slices):
    items = found_in(slices)
    assert [item.slice_id for item in items] == ["P1/a", "P1/b", "P2/a", "P2/b", "alone"]
    assert [item.patient_id for item in items] == ["P1", "P1", "P2", "P2", "alone"]
    image, classes, spacing_mm = items[2].source()
    np.testing.assert_array_equal(image, slice_of(2)[0])
    np.testing.assert_array_equal(classes, slice_of(2)[1])
    assert spacing_mm == (1.0, 1.0)
    assert found_in(slices, spacing_mm=(0.5, 0.6))[0].source()[2] == (0.5, 0.6)


def test_a_changed_file_has_another_version(slices):
    before = found_in(slices)
    write(slices / "masks" / "P1" / "b.PNG", np.zeros((20, 24), np.uint8))
    after = found_in(slices)
    assert [old.version == new.version for old, new in zip(before, after, strict=True)] == [True, False, *3 * [True]]


def test_patients_by_regular_expression_or_table(slices):
    items = found_in(slices, patients="(P[0-9]|alone)")
    assert [item.patient_id for item in items] == ["P1", "P1", "P2", "P2", "alone"]
    table = slices / "who.csv"
    table.write_text("file,patient_id\nP1/a,x\nP1/b.png,x\nP2/a,y\nP2/b,x\nalone,007\nelse,z\n")
    assert [item.patient_id for item in found_in(slices, patients=str(table))] == ["x", "x", "y", "x", "007"]
    table.write_text("file,patient_id\nP1/a,x\nP1/a.png,y\n")
    with pytest.raises(ValueError, match="names several patients for P1/a; a file belongs to one"):
        found_in(slices, patients=str(table))
    table.write_text("file,patient_id\nP1/a,x\n")
    with pytest.raises(ValueError, match=r"4 of 5 files have no patient: P1/b, P2/a, P2/b, alone; add them to .*who"):
        found_in(slices, patients=str(table))
    table.write_text("slice,patient_id\nP1/a,x\n")
    with pytest.raises(ValueError, match=r"who.csv has no column file; it needs file and patient_id"):
        found_in(slices, patients=str(table))
    with pytest.raises(ValueError, match=r"1 of 5 files have no patient: alone; change the regular expression"):
        found_in(slices, patients="^(P[0-9])")
    with pytest.raises(ValueError, match=r"must have one group, .* has 0"):
        found_in(slices, patients="P")
    with pytest.raises(ValueError, match="neither a CSV or XLSX file nor a regular expression"):
        found_in(slices, patients="(P")


def test_a_table_of_patients_as_people_have_it(slices):
    rows = [["P1/a", "x"], ["P1/b.png", "x"], ["P2/a", "y"], ["P2/b", "x"], ["alone", 7]]
    for header in (["File ", "Patient ID"], ["Filename", "ID"], ["image", "患者编号"]):
        book = openpyxl.Workbook()
        for row in [["Slices of the study"], header, *rows]:
            book.active.append(row)
        book.save(slices / "who.xlsx")
        items = found_in(slices, patients=str(slices / "who.xlsx"))
        assert [item.patient_id for item in items] == ["x", "x", "y", "x", "7"]
    (slices / "who.csv").write_text("file,File,patient_id\nP1/a,P1/a,x\n")
    with pytest.raises(ValueError, match=r"any of the columns \['file', 'File'\] may be file; rename or delete"):
        found_in(slices, patients=str(slices / "who.csv"))


def test_pictures_of_segmented_scans_are_of_their_scan(tmp_path, caplog):
    names = {"pat": ["pat_0000_a", "pat_0001_b.1"], "pat_0002": ["pat_0002_0000_c"]}
    for scan, files in names.items():
        (tmp_path / "scans" / scan).mkdir(parents=True)
        rows = "".join(f"{index},{name}.png\n" for index, name in enumerate(files))
        (tmp_path / "scans" / scan / "slices.csv").write_text(f"slice,file\n{rows}")
        for name in files:
            write(tmp_path / "images" / f"{name}.png", slice_of(0)[0])
            write(tmp_path / "masks" / f"{name}.png", slice_of(0)[1])
    (tmp_path / "scans" / "volume").mkdir()
    (tmp_path / "scans" / "volume" / "slices.csv").write_text("slice\n0\n")  # its images are elsewhere
    assert [item.patient_id for item in found_in(tmp_path)] == ["pat", "pat", "pat_0002"]
    assert [item.patient_id for item in found_in(tmp_path, patients="_([a-c])")] == ["a", "b", "c"]
    assert "taken for a patient" not in caplog.text
    (tmp_path / "scans").rename(tmp_path / "else")
    assert [item.patient_id for item in found_in(tmp_path)] == [name for files in names.values() for name in files]
    assert "Each of 3 slices counts as a different patient; tell patients by --patients." in caplog.text


def test_files_without_partner_are_listed(slices):
    (slices / "masks" / "P2" / "a.PNG").unlink()
    with pytest.raises(
        ValueError, match=r"1 of 5 image files have no file of the same name in .*masks: .*P2/a.png. Name"
    ):
        found_in(slices)
    (slices / "images" / "P2" / "a.png").unlink()
    (slices / "images" / "P1" / "b.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 mask files have no file of the same name in .*images: .*P1/b.PNG"):
        found_in(slices)


def test_folders_that_do_not_fit(slices):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; pass a folder of pictures or volumes"):
        folder.items(slices / "nowhere", slices / "masks")
    (slices / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has neither PNG or JPG nor volumes"):
        folder.items(slices / "empty", slices / "masks")
    with pytest.raises(ValueError, match=r"which are grey levels; Hounsfield units \(hu\) need volumes"):
        found_in(slices, preset="hu")
    write(slices / "images" / "alone.jpg", slice_of(0)[0])
    with pytest.raises(ValueError, match=r"alone.jpg and .*alone.png differ in their extension only; keep one of them"):
        found_in(slices)


def test_jpeg_masks_are_refused(slices):
    image, classes = slice_of(0)
    write(slices / "images" / "other.jpg", image)
    write(slices / "masks" / "other.JPEG", classes)
    message = (
        r"1 masks are JPG, whose compression changes classes along borders: .*other\.JPEG\. Export masks as PNG from"
    )
    with pytest.raises(ValueError, match=message):
        found_in(slices)
    with pytest.raises(ValueError, match="1 masks are JPG"):
        folder.items(slices / "images" / "other.jpg", slices / "masks" / "other.JPEG")
    (slices / "masks" / "other.JPEG").unlink()
    write(slices / "masks" / "other.png", classes)
    image = found_in(slices)[-1].source()[0]  # JPG is fine for images
    assert image.shape == classes.shape


def test_ggo_by_another_number_is_not_taken_for_background(slices):
    classes = slice_of(0)[1]
    write(slices / "masks" / "P1" / "a.PNG", np.where(classes == 1, 3, classes).astype(np.uint8))
    found = phenotypes.table(found_in(slices), num_workers=0, progress=False)
    assert "P1/a.PNG holds the values {0, 2, 3}; expected 0 background, 1 GGO, 2 consolidation" in found.loc[0, "error"]
    assert np.isnan(found.loc[0, "ggo_shape2D_PixelSurface"])
    assert (found.loc[1:, "error"] == "").all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient_id\nP1/a,x,\nP1/b,x,\n", "rows have more cells than the header: row 2 has 3"),
        ("file;patient_id\nP1/a;x\n", "its columns are separated by semicolons; export it with commas"),
        ("sep=;\nfile;patient_id\nP1/a;x\n", "its first line is 'sep=;'; delete that line"),
        ("file,patient_id,file\nP1/a,x,P1/b\n", r"its header repeats names: 'file' \(columns 1, 3\)"),
    ],
)
def test_a_table_of_patients_that_cannot_be_read(slices, text, message):
    (slices / "who.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"who\.csv cannot be read \({message}"):
        found_in(slices, patients=str(slices / "who.csv"))


def test_what_only_reading_shows_is_an_error_of_the_slice(slices):
    write(slices / "masks" / "P1" / "a.PNG", slice_of(0)[1][1:])
    write(slices / "masks" / "P1" / "b.PNG", slice_of(0)[1] * 100)
    (slices / "images" / "P2" / "a.png").write_bytes(b"nothing")
    found = phenotypes.table(found_in(slices), num_workers=0, progress=False)
    errors = found["error"].tolist()
    assert "P1/a.PNG is 19x24 but its image" in errors[0]
    assert "holds the values {0, 100, 200}; expected 0 background" in errors[1]
    assert "is not a readable image" in errors[2]
    assert errors[3:] == ["", ""]
    expected = phenotypes.extract(*slice_of(3))
    assert found.loc[3, "ggo_glcm_Imc1"] == expected["ggo_glcm_Imc1"]


def write_nifti(path, volume, spacing):
    """volume[slices, rows, columns] as stored by scanners: columns to the left, rows to the back, slices up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1])
    nib.Nifti1Image(volume.transpose(2, 1, 0), affine).to_filename(path)


@pytest.fixture
def volumes(tmp_path):
    """A volume in HU of three slices, the second with air around, and its mask."""
    slices = [slice_of(seed) for seed in range(3)]
    ct_hu = np.stack([image for image, _ in slices]).astype(np.int16) * 4 - 1000
    classes = np.stack([classes for _, classes in slices])
    write_nifti(tmp_path / "images" / "scan.nii.gz", ct_hu, (5.0, 0.9, 0.7))
    write_nifti(tmp_path / "masks" / "scan.nii", classes, (5.0, 0.9, 0.7))
    return tmp_path, ct_hu, classes


def test_a_volume_is_its_axial_slices(volumes):
    tmp_path, ct_hu, classes = volumes
    items = found_in(tmp_path, preset="hu")
    assert [item.slice_id for item in items] == ["scan_0000", "scan_0001", "scan_0002"]
    assert {item.patient_id for item in items} == {"scan"}
    for index, item in enumerate(items):
        image, labels, spacing_mm = item.source()
        np.testing.assert_array_equal(image, ct_hu[index])
        np.testing.assert_array_equal(labels, classes[index])
        assert spacing_mm == pytest.approx((0.9, 0.7))
    found = phenotypes.table(items, settings=phenotypes.HU, num_workers=0, progress=False)
    assert found.loc[1, "ggo_shape2D_PixelSurface"] == pytest.approx(60 * 0.9 * 0.7)
    grey, _, _ = found_in(tmp_path)[1].source()
    np.testing.assert_array_equal(grey, ct.window_hu(ct_hu[1]))


def test_files_of_any_name_are_one_case(volumes):
    tmp_path, ct_hu, _ = volumes
    (tmp_path / "masks" / "scan.nii").rename(tmp_path / "drawn.nii")
    items = folder.items(tmp_path / "images" / "scan.nii.gz", tmp_path / "drawn.nii", preset="hu", patients="^(s)")
    assert [(item.slice_id, item.patient_id) for item in items] == [(f"scan_000{i}", "s") for i in range(3)]
    np.testing.assert_array_equal(items[2].source()[0], ct_hu[2])


def test_volumes_that_do_not_fit(volumes):
    tmp_path, ct_hu, classes = volumes
    with pytest.raises(ValueError, match=r"is for PNG and JPG; the volumes of .* have their own"):
        found_in(tmp_path, spacing_mm=(1.0, 1.0))
    write_nifti(tmp_path / "masks" / "scan.nii", classes[:2], (5.0, 0.9, 0.7))
    found = phenotypes.table(found_in(tmp_path), num_workers=0, progress=False)
    assert all("has (2, 20, 24) voxels (slices, rows, columns), but its image" in e for e in found["error"])
    write_nifti(tmp_path / "masks" / "scan.nii", classes, (5.0, 0.9, 0.7))
    write_nifti(tmp_path / "images" / "scan.nii.gz", (ct_hu + 1000) // 4, (5.0, 0.9, 0.7))
    found = phenotypes.table(found_in(tmp_path, preset="hu"), num_workers=0, progress=False)
    assert all("a chest CT in HU has air, below -500. Use the preset eight_bit" in error for error in found["error"])
    assert not any(phenotypes.table(found_in(tmp_path), num_workers=0, progress=False)["error"])
    write_nifti(tmp_path / "masks" / "scan.nii", np.where(classes == 1, 3, classes), (5.0, 0.9, 0.7))
    found = phenotypes.table(found_in(tmp_path), num_workers=0, progress=False)
    assert all("scan.nii holds the values {0, 2, 3}; expected 0 back" in error for error in found["error"])
    image, labels = slice_of(0)
    write(tmp_path / "images" / "other.png", image)
    write(tmp_path / "masks" / "other.png", labels)
    with pytest.raises(ValueError, match=r"has volumes \(areas in mm²\) and PNG or JPG \(in pixels\)"):
        found_in(tmp_path)
    (tmp_path / "masks" / "scan.nii").unlink()
    write(tmp_path / "masks" / "scan.png", labels)
    with pytest.raises(ValueError, match=r"scan.nii.gz and .*scan.png must both be volumes, or both PNG or JPG"):
        found_in(tmp_path)


def test_links_to_folders_are_followed(slices):
    """A link to a patient, a patient's folder whose name ends like a volume, and circular links."""
    for kind in ("images", "masks"):
        (slices / kind / "P2").rename(slices / f"store_{kind}")
        (slices / kind / "P2").symlink_to(slices / f"store_{kind}")
        (slices / kind / "P1").rename(slices / kind / "P1.nii")
        (slices / kind / "up").symlink_to(slices / kind)
        (slices / kind / "P2/up").symlink_to(slices / kind)
    report = input_files.Report()
    items = found_in(slices, report=report)
    assert [item.slice_id for item in items] == ["P1.nii/a", "P1.nii/b", "P2/a", "P2/b", "alone"]
    assert [item.patient_id for item in items] == ["P1.nii", "P1.nii", "P2", "P2", "alone"]
    np.testing.assert_array_equal(items[2].source()[0], slice_of(2)[0])
    report.write(slices)
    unused = pd.read_csv(slices / "unused_files.csv", keep_default_na=False)
    assert unused["files"].sum() == 1
    assert unused.loc[unused["files"] == 1, ["path", "kind"]].to_numpy().tolist() == [
        [str(slices / "images/notes.txt"), "neither volume, PNG nor JPG"]
    ]


def test_files_that_hold_nothing_cost_themselves_alone(slices, caplog):
    (slices / "images/P1/a.png").write_bytes(b"")
    (slices / "masks/P2/a.PNG").unlink()
    (slices / "masks/P2/a.PNG").symlink_to("nowhere.png")
    (slices / "images/P2/no_partner.png").symlink_to("nowhere.png")
    (slices / "masks/P2/.b.PNG").write_bytes(b"")
    report = input_files.Report()
    items = found_in(slices, report=report)
    found = phenotypes.table(items, num_workers=0, progress=False)
    assert found["error"].tolist() == [
        f"ValueError: {slices}/images/P1/a.png cannot be read (empty); copy or download it again.",
        "",
        f"ValueError: {slices}/masks/P2/a.PNG cannot be read (symbolic link to nothing); copy or download it again.",
        "",
        "",
    ]
    folder.leave_out_failed(items, found["error"].tolist(), report)
    report.write(slices)
    unused = pd.read_csv(slices / "unused_files.csv", keep_default_na=False)
    assert unused.groupby("kind")["files"].sum().to_dict() == {
        "failed": 4, "hidden": 1, "neither volume, PNG nor JPG": 1, "symbolic link to nothing": 1,
    }  # fmt: skip
    assert report.used == 6
    assert "7 of 13 input files were not used (failed: 4; " in caplog.text


def test_names_that_are_not_unicode(tmp_path):
    name = os.fsdecode(b"M\xfcller")
    write(tmp_path / "images" / f"{name}.png", slice_of(0)[0])
    write(tmp_path / "masks" / f"{name}.png", slice_of(0)[1] * 3)
    found = phenotypes.table(found_in(tmp_path), num_workers=0, progress=False)
    assert found["slice_id"].tolist() == ["M\N{REPLACEMENT CHARACTER}ller"]
    assert "holds the values {0, 3, 6}" in found.loc[0, "error"]
    found.to_csv(tmp_path / "slices.csv")


@pytest.mark.parametrize("flag", ["images", "masks"])
def test_a_path_that_no_file_system_takes_is_said_in_words(slices, flag):
    paths = {"images": slices / "images", "masks": slices / "masks", flag: slices / ("x" * 300)}
    with pytest.raises(ValueError, match=r"x cannot be read \(File name too long\)"):
        folder.items(**paths)


@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_names_may_be_as_long_as_a_file_system_takes(tmp_path, suffix):
    name = "x" * (255 - len(suffix))
    for kind, array in zip(("images", "masks"), slice_of(0), strict=True):
        if suffix == ".png":
            write(tmp_path / kind / f"{name}{suffix}", array)
        else:
            write_nifti(tmp_path / kind / f"{name}{suffix}", array[None], (5.0, 0.9, 0.7))
    tables = phenotypes.measure(found_in(tmp_path), work=phenotypes.Work(num_workers=0, parts_dir=tmp_path / "parts"))
    assert tables.slices["error"].tolist() == [""]
    assert tables.patients["patient_id"].tolist() == [name]


def test_a_volume_whose_slices_all_fail_is_counted_once(volumes):
    """Each slice fails for a different reason."""
    tmp_path, ct_hu, _ = volumes
    ct_hu = ct_hu.astype(np.float32)
    for index in range(3):
        ct_hu[index, 4 + index, 6] = np.nan  # in the GGO
    write_nifti(tmp_path / "images" / "scan.nii.gz", ct_hu, (5.0, 0.9, 0.7))
    report = input_files.Report()
    items = found_in(tmp_path, preset="hu", report=report)
    errors = phenotypes.table(items, settings=phenotypes.HU, num_workers=0, progress=False)["error"].tolist()
    assert [f"nan at row {4 + index}, column 6" in error for index, error in enumerate(errors)] == [True] * 3
    folder.leave_out_failed(items, errors, report)
    report.write(tmp_path)
    unused = pd.read_csv(tmp_path / "unused_files.csv")
    assert unused["path"].tolist() == [f"{tmp_path}/images/scan.nii.gz", f"{tmp_path}/masks/scan.nii"]
    assert unused["reason"].tolist() == [errors[0]] * 2

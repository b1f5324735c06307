"""Volumes of every format, written by other programs, have the voxels and the place of the NIfTI of the same scan."""

import gzip
import shutil
import subprocess
import zipfile

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK

from ssinfnet_jax.data.datasets.ct_phantom import volume as phantom
from ssinfnet_jax.data.readers import find, volume

SHAPE = (12, 10, 9)
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def chest():
    """Returns HU in which all axes, directions and voxels differ."""
    i, j, k = np.indices(SHAPE)
    noise = np.random.default_rng(0).integers(-60, 60, SHAPE)
    return (-1000 + 60.0 * i + 13.0 * j + 31.0 * k + noise).clip(-1024, 2000).astype(np.int16)


def oblique():
    """Returns an affine [4,4] of voxels in RAS mm, flipped and tilted by 10 degrees."""
    place = np.diag([-0.7, 0.8, 2.5, 1])
    cos, sin = np.cos(np.radians(10)), np.sin(np.radians(10))
    place[1:3, 1:3] = np.array([[cos, -sin], [sin, cos]]) @ place[1:3, 1:3]
    place[:3, 3] = 11, -37, 205
    return place


def nifti(path):
    nib.save(nib.Nifti1Image(chest(), oblique()), path)
    return path


def by_simpleitk(folder, name, compressed=False):
    """Rewrites the NIfTI with SimpleITK, which keeps the place."""
    image = SimpleITK.ReadImage(nifti(folder.parent / "source.nii"))
    SimpleITK.WriteImage(image, folder / name, compressed)


def by_slicer(folder, name, space="left-posterior-superior"):
    """Writes NRRD with the fields and the gzip encoding of 3D Slicer, by pynrrd."""
    place = LPS_FROM_RAS @ oblique() if space == "left-posterior-superior" else oblique()
    header = {
        "space": space, "kinds": ["domain"] * 3, "encoding": "gzip", "space origin": place[:3, 3],
        "space directions": place[:3, :3].T,
    }  # fmt: skip
    nrrd.write(str(folder / name), chest(), header)


def by_nibabel(folder, name):
    image = {".nii": nib.Nifti1Image, ".img": nib.Nifti1Pair}[name[-4:]]
    nib.save(image(chest(), oblique()), folder / name)


def packed(folder, name):
    data = nifti(folder.parent / "source.nii").read_bytes()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".nii") else data)


WRITERS = {
    "a.nrrd": by_simpleitk,
    "packed.nrrd": lambda folder, name: by_simpleitk(folder, name, compressed=True),
    "a.nhdr": by_simpleitk,
    "packed.nhdr": lambda folder, name: by_simpleitk(folder, name, compressed=True),
    "a.mha": by_simpleitk,
    "packed.mha": lambda folder, name: by_simpleitk(folder, name, compressed=True),
    "a.mhd": by_simpleitk,
    "packed.mhd": lambda folder, name: by_simpleitk(folder, name, compressed=True),
    "slicer.nrrd": by_slicer,
    "ras.nrrd": lambda folder, name: by_slicer(folder, name, "right-anterior-superior"),
    "itk.hdr": by_simpleitk,
    "nibabel.img": by_nibabel,
    "gzipped.nii": packed,
    "not_gzipped.nii.gz": packed,
}


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_voxels_and_the_place_of_the_nifti(tmp_path, name, renamed):
    folder = tmp_path / "in"
    folder.mkdir()
    WRITERS[name](folder, name)
    path = folder / name
    if renamed:
        if len(list(folder.iterdir())) > 1:
            pytest.skip("a header finds its voxels by name")
        path = path.rename(folder / "scan.bin")
    wanted = volume.load(nifti(tmp_path / "wanted.nii.gz"))
    found = volume.load(path)
    np.testing.assert_array_equal(found.voxels, wanted.voxels)
    np.testing.assert_allclose(found.grid.view_affine, wanted.grid.view_affine, atol=1e-4)
    np.testing.assert_allclose(volume.read_grid(path)[0].affine, found.grid.affine)
    (source,) = find.find([folder])
    scan = source.open(tmp_path)
    np.testing.assert_array_equal(np.stack([scan.read(k) for k in range(scan.num_slices)]), wanted.voxels)
    assert set(source.files) == set(folder.iterdir())
    assert found.notes == scan.notes == ()


def test_analyze_has_no_orientation_and_says_so(tmp_path):
    nib.save(nib.AnalyzeImage(chest(), np.diag([-0.7, 0.8, 2.5, 1])), tmp_path / "old.img")
    found = volume.load(tmp_path / "old.hdr")
    np.testing.assert_array_equal(found.voxels, chest()[:, ::-1].transpose(2, 1, 0))
    assert found.grid.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert "Analyze 7.5 stores no orientation" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "header", "note"),
    [
        ("a.nrrd", {"spacings": [0.7, 0.8, 2.5]}, "the header gives no space: its axes were taken as left"),
        (
            "a.nrrd",
            {"space": "scanner-xyz", "space directions": np.diag([0.7, 0.8, 2.5]), "space origin": [0, 0, 0]},
            "the header gives the space 'scanner-xyz'",
        ),
    ],
)
def test_a_nrrd_without_orientation_says_so(tmp_path, name, header, note):
    nrrd.write(str(tmp_path / name), chest(), header)
    found = volume.load(tmp_path / name)
    assert found.grid.axes == "LPS"
    np.testing.assert_array_equal(found.voxels, chest().transpose(2, 1, 0))
    assert note in found.notes[0]


def replace(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def test_damaged_and_unusual_volumes_are_refused(tmp_path):
    by_simpleitk(tmp_path, "a.nrrd")
    by_simpleitk(tmp_path, "a.mhd")

    def refuse(name, reason):
        with pytest.raises(ValueError, match=reason):
            volume.load(tmp_path / name)

    whole = (tmp_path / "a.nrrd").read_bytes()
    (tmp_path / "cut.nrrd").write_bytes(whole[:-500])
    refuse("cut.nrrd", r"cut\.nrrd cannot be read as NRRD \(.+\); copy it again")
    (tmp_path / "huge.nrrd").write_bytes(whole.replace(b"sizes: 12 10 9", b"sizes: 2000 2000 500"))
    refuse("huge.nrrd", r"huge\.nrrd is truncated or damaged: its header says 4000000000 bytes")
    for name in ("cut.mha", "packed.mha"):
        by_simpleitk(tmp_path, name, name == "packed.mha")
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-500])
        refuse(name, rf"{name} (cannot be read as MetaImage \(.+\)|is truncated)")
    nrrd.write(str(tmp_path / "bzip.nrrd"), chest(), {"encoding": "bzip2"})
    refuse("bzip.nrrd", r"bzip\.nrrd cannot be read as NRRD .*save it as raw or gzip")
    nrrd.write(str(tmp_path / "layers.nrrd"), np.stack([chest()] * 2), {"kinds": ["list"] + ["domain"] * 3})
    refuse("layers.nrrd", r"layers\.nrrd has (shape|2 values per voxel)")
    header = (tmp_path / "a.mhd").read_bytes()
    for named, reason in {
        b"/etc/hostname": r"b\.mhd keeps its voxels outside of its folder \(/etc/hostname\)",
        b"../a.raw": r"keeps its voxels outside of its folder \(\.\./a\.raw\)",
        b"gone.raw": r"b\.mhd is a header whose voxels, gone\.raw, are not beside it",
        b"LIST": r"b\.mhd keeps its voxels in several files \(LIST\)",
        b"a%03d.raw 1 9 1": r"b\.mhd keeps its voxels in several files",
    }.items():
        (tmp_path / "b.mhd").write_bytes(header.replace(b"a.raw", named))
        refuse("b.mhd", reason)


def test_a_slope_of_metaimage_is_told(tmp_path):
    by_simpleitk(tmp_path, "a.mhd")
    replace(tmp_path / "a.mhd", b"ElementDataFile", b"ElementToIntensityFunctionSlope = 2\nElementDataFile")
    found = volume.load(tmp_path / "a.mhd")
    np.testing.assert_array_equal(found.voxels, volume.load(nifti(tmp_path / "b.nii")).voxels)
    assert "ElementToIntensityFunctionSlope and Offset were not applied" in found.notes[0]


def series(folder):
    place = np.diag([-0.7, -0.8, 2.5, 1])
    phantom.write_dicom(folder, chest(), place, patient_id="p1")
    return sorted(folder.iterdir())


@pytest.mark.skipif(shutil.which("dcmconv") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize("header", [["+F"], ["-F"], ["-F", "+g"]])
@pytest.mark.parametrize("syntax", ["+te", "+ti", "+tb", "+td"])
def test_dicom_of_dcmtk_in_every_encoding(tmp_path, header, syntax):
    """-F leaves out preamble and meta information; +g begins with a group length, as old archives do."""
    if syntax == "+td" and "-F" in header:
        pytest.skip("without meta information nothing says that a file is deflated")
    plain = series(tmp_path / "plain")
    (tmp_path / "in").mkdir()
    for path in plain:
        subprocess.run(["dcmconv", *header, syntax, path, tmp_path / "in" / path.name], check=True)
    (source,) = find.find([tmp_path / "in"])
    scan = source.open(tmp_path)
    found = np.stack([scan.read(k) for k in range(scan.num_slices)])
    np.testing.assert_array_equal(found, chest().transpose(2, 1, 0))


def test_a_series_in_a_zip_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "exam.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, path in enumerate(series(tmp_path / "plain")):
            archive.write(path, f"study 1/IM{number}" if number else "first")
        archive.writestr("study 1/README.txt", "about")
        archive.writestr("study 1/", "")
    shutil.rmtree(tmp_path / "plain")
    (source,) = find.find([tmp_path])
    assert (source.name, source.files) == ("exam_series1", (tmp_path / "exam.zip",))
    (tmp_path / "scratch").mkdir()
    scan = source.open(tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []  # each image is unpacked in memory
    found = np.stack([scan.read(k) for k in range(scan.num_slices)])
    np.testing.assert_array_equal(found, chest().transpose(2, 1, 0))
    assert (scan.source, scan.patient_id) == (tmp_path / "exam.zip", "p1")


def zipped(path, members, change=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change:
                change(info)
            archive.writestr(info, data)
    return path


def as_link(info):
    info.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    ("members", "change", "reason"),
    [
        ({"/etc/x.dcm": b"1"}, None, r"e\.zip holds a name that leads out of it, '/etc/x\.dcm'"),
        ({"a/../../x.dcm": b"1"}, None, "a name that leads out of it"),
        ({"C:x.dcm": b"1"}, None, "a name that leads out of it"),
        ({"a\\..\\x.dcm": b"1"}, None, "a name that leads out of it"),
        ({"x.dcm": b"/etc/passwd"}, as_link, r"e\.zip holds a symbolic link, 'x\.dcm'"),
        ({"x.dcm": bytes(2**22)}, None, r"e\.zip holds 1 files of 4194304 bytes, packed into \d+; at most"),
        ({"x.txt": b"1"}, None, r"e\.zip holds no DICOM series, such as: a file of an archive that is not DICOM"),
    ],
)
def test_archives_that_reach_out_or_explode_are_refused(tmp_path, members, change, reason):
    (source,) = find.find([zipped(tmp_path / "e.zip", members, change)])
    (tmp_path / "scratch").mkdir()
    with pytest.raises(ValueError, match=reason):
        source.open(tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_too_many_files_in_an_archive_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ssinfnet_jax.data.readers.archive.MOST_FILES", 2)
    (source,) = find.find([zipped(tmp_path / "e.zip", {str(k): b"1" for k in range(3)})])
    with pytest.raises(ValueError, match=r"e\.zip holds 3 files .*; at most 2 files"):
        source.open(tmp_path)


def test_a_damaged_archive_is_an_error(tmp_path):
    path = zipped(tmp_path / "e.zip", {"x.dcm": bytes(range(256))})
    replace(path, bytes(range(40, 60)), bytes(20))
    data = bytearray(path.read_bytes())
    data[60:64] = b"\xff" * 4
    path.write_bytes(data)
    (source,) = find.find([path])
    with pytest.raises(ValueError, match=r"e\.zip (is truncated or damaged|holds)"):
        source.open(tmp_path)


def test_a_stray_file_beside_a_series_is_left_out(tmp_path):
    paths = series(tmp_path / "in")
    (tmp_path / "in/stray.dcm").write_bytes(b"no DICOM at all, but named so")
    sources = {source.format + str(source.left_out): source for source in find.find([tmp_path / "in"])}
    scan = sources["dicomFalse"].open(tmp_path)
    assert scan.num_slices == len(paths)
    assert "1 files beside it cannot be read: is it complete?" in scan.notes[0]
    with pytest.raises(find.dicom.LeftOutError, match=r"stray\.dcm does not start like a DICOM file"):
        sources["dicomTrue"].open(tmp_path)
    (tmp_path / "in/stray2.dcm").write_bytes(b"a second one is no stray any more")
    assert not any(source.left_out for source in find.find([tmp_path / "in"]))

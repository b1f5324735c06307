import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from ssinfnet_jax.data import survey
from ssinfnet_jax.data.readers import nifti, nifti_header
from tests.inference import stand_in

HU = np.random.default_rng(0).integers(-1000, 400, (12, 10, 8)).astype(np.int16)
# kind -> (class, byte order; offset and format of vox_offset and of scl_slope; first byte after the header)
KINDS = {
    "nifti1": (nib.Nifti1Image, "<", 108, "f", 112, "f", 352),
    "big endian": (nib.Nifti1Image, ">", 108, "f", 112, "f", 352),
    "nifti2": (nib.Nifti2Image, "<", 168, "q", 176, "d", 544),
}
SUFFIXES = [".nii", ".nii.gz", ".NII.GZ"]


def write(path, kind, *, offset=None, slope=None, padding=0):
    """Writes a volume with changed numbers in its header and `padding` bytes before its voxels."""
    cls, order, offset_at, offset_format, slope_at, slope_format, first = KINDS[kind]
    image = cls(HU, np.diag([-1, -1, 2, 1]), cls.header_class(endianness=order))
    image.set_data_dtype(np.int16)
    data = bytearray(image.to_bytes())
    data[first:first] = bytes(padding)
    if offset is not None:
        data[offset_at : offset_at + struct.calcsize(offset_format)] = struct.pack(order + offset_format, offset)
    if slope is not None:
        data[slope_at : slope_at + 2 * struct.calcsize(slope_format)] = struct.pack(order + 2 * slope_format, *slope)
    path.write_bytes(gzip.compress(data) if path.name.lower().endswith(".gz") else data)
    return path


def read(path, scratch):
    scan = nifti.read(path, scratch_dir=scratch)
    return np.stack([scan.read(index).T for index in range(scan.num_slices)], axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_voxels_are_read_where_they_are(tmp_path, kind, suffix):
    np.testing.assert_array_equal(read(write(tmp_path / f"a{suffix}", kind), tmp_path), HU)
    first = KINDS[kind][-1]
    np.testing.assert_array_equal(
        read(write(tmp_path / f"b{suffix}", kind, offset=first + 32, padding=32), tmp_path), HU
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("offset", [0, 1, 16, 348, "last", -16, 352.5, np.nan, np.inf, -np.inf])
def test_voxels_that_would_start_in_the_header_are_refused(tmp_path, kind, suffix, offset):
    """With offset 0 the header used to be read as voxels, -16589 to 16384, and segmented."""
    offset = KINDS[kind][-1] - 1 if offset == "last" else offset
    if kind == "nifti2" and not float(offset).is_integer():
        pytest.skip("vox_offset of NIfTI-2 is a whole number")
    path = write(tmp_path / f"v{suffix}", kind, offset=int(offset) if kind == "nifti2" else offset)
    end = KINDS[kind][-1]
    with pytest.raises(
        ValueError, match=rf"{path.name} says .* at byte {offset:g} \(vox_offset\).* ends at byte {end}"
    ):
        nifti.read(path, scratch_dir=tmp_path)


PAIRS = {"nifti1": nib.Nifti1Pair, "nifti2": nib.Nifti2Pair, "analyze": nib.AnalyzeImage}


def write_pair(folder, kind, name, value):
    """Writes a header with a changed number, and its voxels beside it."""
    nib.save(PAIRS[kind](HU, np.diag([-1, 1, 2, 1])), folder / "a.img")
    _, _, offset_at, offset_format, slope_at, slope_format, _ = KINDS["nifti2" if kind == "nifti2" else "nifti1"]
    at, form = (offset_at, offset_format) if name == "vox_offset" else (slope_at, slope_format)
    data = bytearray((folder / "a.hdr").read_bytes())
    data[at : at + struct.calcsize(form)] = struct.pack(form, value)
    (folder / "a.hdr").write_bytes(data)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("opened", ["a.hdr", "a.img"])
@pytest.mark.parametrize("offset", [-16, -(2**62), 2**62, 0.5, np.nan, np.inf])
def test_voxels_of_a_pair_start_in_their_file(tmp_path, kind, opened, offset):
    if kind == "nifti2" and not isinstance(offset, int):
        pytest.skip("vox_offset of NIfTI-2 is a whole number")
    write_pair(tmp_path, kind, "vox_offset", offset)
    with pytest.raises(ValueError, match=r"a\.hdr says .* \(vox_offset\), but the first possible is byte 0|truncated"):
        nifti.read(tmp_path / opened, scratch_dir=tmp_path)


@pytest.mark.parametrize("kind", ["nifti1", "nifti2"])
def test_scaling_of_a_pair_is_finite(tmp_path, kind):
    write_pair(tmp_path, kind, "scl_slope", np.inf)
    with pytest.raises(ValueError, match=r"a\.hdr scales its voxels by scl_slope inf"):
        nifti.read(tmp_path / "a.img", scratch_dir=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("offset", [400, 2**20])
def test_voxels_beyond_the_end_of_the_file_are_an_error(tmp_path, kind, suffix, offset):
    offset += KINDS[kind][-1]
    path = write(tmp_path / f"v{suffix}", kind, offset=offset)
    size = KINDS[kind][-1] + HU.nbytes
    with pytest.raises(
        ValueError, match=f"{path.name} is truncated: it holds {size} bytes .* says {offset + HU.nbytes};"
    ):
        nifti.read(path, scratch_dir=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_scaling_is_finite_or_none(tmp_path, kind, suffix):
    def scaled(slope):
        return read(write(tmp_path / f"v{suffix}", kind, slope=slope), tmp_path)

    np.testing.assert_allclose(scaled((0.5, -512)), HU * 0.5 - 512)
    for slope in ((0, 0), (0, 7), (np.nan, 0), (np.nan, np.nan)):  # no scaling, by the standard and by nibabel
        np.testing.assert_array_equal(scaled(slope), HU)
    for slope in ((np.inf, 0), (-np.inf, 0), (1, np.nan), (1, np.inf)):
        with pytest.raises(
            ValueError, match=r"scales its voxels by scl_slope .* and scl_inter .*; both must be finite"
        ):
            scaled(slope)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_longer_than_its_header_says_gets_a_note(tmp_path, suffix):
    path = write(tmp_path / f"v{suffix}", "nifti1", padding=2)
    assert nifti.read(path, scratch_dir=tmp_path).notes == (
        f"the file is longer than its header says ({352 + HU.nbytes} bytes): are its shape and data type right?",
    )


def test_files_that_are_not_nifti_fail_in_the_reader(tmp_path):
    for name, data in {"a.nii": b"", "b.nii.gz": b"no gzip", "c.nii": b"\x5c\x01\x00\x00 too short"}.items():
        (tmp_path / name).write_bytes(data)
        nifti_header.check_voxels(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} cannot be read as NIfTI"):
            nifti.read(tmp_path / name, scratch_dir=tmp_path)


def test_values_are_surveyed_as_scaled(tmp_path):
    path = write(tmp_path / "v.nii", "nifti1", slope=(2.0, 100.0))
    seen = survey.survey(nifti.read(path, scratch_dir=tmp_path), None, stand_in.WINDOW_HU)
    assert (seen.low, seen.high) == (2 * HU.min() + 100, 2 * HU.max() + 100)

"""What dcm2niix converts a DICOM series to has the voxels and the place that we read from the series itself."""

import pathlib
import shutil
import subprocess

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import uid

from ssinfnet_jax.data.datasets.ct_phantom import volume as phantom
from ssinfnet_jax.data.readers import find, volume
from tests.data.readers.test_formats import chest, oblique

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2niix") is None, reason="dcm2niix is not installed (Debian: apt-get install dcm2niix)"
)

STRAIGHT = np.diag([-0.7, -0.8, 2.5, 1])
TILTED = np.array([[-0.7, 0, 0, 3], [0, -0.8, 0.4, -5], [0, 0, 2.4, 7], [0, 0, 0, 1]])  # the gantry, by 9 degrees


def write_series(folder, place=STRAIGHT, change=None):
    phantom.write_dicom(folder, chest(), place, patient_id="p1", change=change)
    return sorted(folder.iterdir())


def write_multi_frame(folder):
    slices = [pydicom.dcmread(path) for path in write_series(folder.parent / "single")]
    whole = hd.legacy.LegacyConvertedEnhancedCTImage(slices, uid.generate_uid(), 9, uid.generate_uid(), 1)
    folder.mkdir()
    whole.save_as(folder / "whole.dcm")


def from_above(dataset, k):
    dataset.InstanceNumber = 9 - k


def compressed(dataset, k):
    dataset.compress(uid.RLELossless)


SERIES = {
    "straight": write_series,
    "oblique": lambda folder: write_series(folder, oblique()),
    "tilted": lambda folder: write_series(folder, TILTED),
    "numbered from above": lambda folder: write_series(folder, change=from_above),
    "compressed": lambda folder: write_series(folder, change=compressed),
    "multi-frame": write_multi_frame,
}
CONVERSIONS = {  # what dcm2niix writes: its options
    "scan.nii": ["-z", "n"],
    "scan.nii.gz": ["-z", "i"],
    "scan.nrrd": ["-e", "y"],
    "scan.nhdr": ["-e", "y", "-z", "y"],
}


def converted(series, name) -> pathlib.Path:
    out = series.parent / "out"
    out.mkdir()
    command = ["dcm2niix", *CONVERSIONS[name], "-f", "scan", "-o", out, series]
    subprocess.run(command, check=True, capture_output=True)
    return out / name


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_has_the_voxels_and_the_place_of_its_series(tmp_path, kind, name):
    SERIES[kind](tmp_path / "series")
    (source,) = find.find([tmp_path / "series"])
    scan = source.open(tmp_path)
    found = volume.load(converted(tmp_path / "series", name))
    np.testing.assert_array_equal(found.voxels, [scan.read(k) for k in range(scan.num_slices)])
    np.testing.assert_allclose(found.grid.view_affine, scan.grid.view_affine, atol=1e-3)


def test_the_conversions_of_a_folder_are_scans_and_their_json_is_not(tmp_path):
    write_series(tmp_path / "series", TILTED)
    out = converted(tmp_path / "series", "scan.nii.gz").parent
    assert (out / "scan.json").is_file()
    assert {source.name for source in find.find([out])} == {"scan", "scan_Tilt_1"}

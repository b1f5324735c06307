"""Equal slices give equal records, whatever the layout."""

import numpy as np
import pytest

from ssinfnet_jax.data import ct, datasets, stage_files
from tests.data.folder import layouts


@pytest.fixture(scope="module")
def of():
    return layouts.patients()


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_equal_slices_give_equal_records(tmp_path, of, name):
    root = layouts.LAYOUTS[name](tmp_path / "source", of)
    datasets.prepare("folder", "default", source_dir=root, prepared_dir=tmp_path)
    dataset = datasets.load("folder", "default", prepared_dir=tmp_path)
    found = {(record["patient_id"], record["slice_id"][-3:]): record for record in dataset.records}
    assert len(found) == len(dataset.records) == len(of) * layouts.NUM_SLICES
    for number, one in enumerate(of):
        for index, (hu, classes) in enumerate(zip(one.view(one.hu), one.view(one.classes), strict=True)):
            record = found[one.name, f"{index:03d}"]
            np.testing.assert_array_equal(record["image"], ct.window_hu(hu))
            if number < 2:
                np.testing.assert_array_equal(record["classes"], classes)
                np.testing.assert_array_equal(record["lesion"], classes > 0)
            else:
                assert not {"lesion", "classes", "ignore"} & set(record)
    parts = dataset.slices.groupby("part")["patient_id"].unique().map(sorted).to_dict()
    assert parts == {"labeled": ["p11", "p7"], "cohort" if name == "table" else "unlabeled": ["p3"]}
    ages = [record.get("age") for record in dataset.records]
    assert ages == ([60] * 3 + [61] * 3 + [62] * 3 if name == "table" else [None] * 9)
    names = [*stage_files.VOLUME]
    if name == "pictures":
        assert not {*names} & {*dataset.slices}
        return
    spacing_mm = np.linalg.norm(of[0].affine[:3, :3], axis=0)[::-1]
    np.testing.assert_allclose(dataset.slices[names[1:]], np.tile(spacing_mm, (9, 1)), rtol=1e-5)
    volumes = dataset.slices.groupby("volume_id")["patient_id"]
    assert volumes.nunique().tolist() == [1] * 3
    assert volumes.size().tolist() == [layouts.NUM_SLICES] * 3

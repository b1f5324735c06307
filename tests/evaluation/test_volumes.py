import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.evaluation import columns, evaluate, volumes
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.metrics import volume
from ssinfnet_jax.networks.decision import Decision

TABLE = pd.DataFrame(
    {
        "slice_id": ["a_0", "a_1", "b_0", "picture"],
        "patient_id": ["p", "p", "q", "r"],
        "volume_id": ["a", "a", "b", np.nan],
        "slice_mm": [10.0, 10.0, 1.0, np.nan],
        "row_mm": [1.0, 1.0, 1.0, np.nan],
        "column_mm": [1.0, 1.0, 1.0, np.nan],
    }
)


def _segmented(found, truth, ignore=None):
    """A slice of these classes; the single network finds every lesion of `found`."""
    found, truth = np.array(found), np.array(truth, np.uint8)
    record = {"lesion": (truth > 0).astype(np.uint8), "classes": truth}
    record |= {} if ignore is None else {"ignore": np.array(ignore, np.uint8)}
    return segmenter.Segmentation(record, (found > 0).astype(np.float32), np.eye(3)[found], Decision())


@pytest.fixture
def found():
    scans = volumes.Volumes(TABLE)
    scans.add(0, _segmented([[1, 1, 0, 0]], [[1, 2, 0, 0]]))
    scans.add(1, _segmented([[0, 0, 2, 2]], [[0, 0, 2, 0]], ignore=[[0, 0, 0, 1]]))
    scans.add(2, _segmented([[0, 0, 0, 0]], [[0, 0, 0, 0]]))
    scans.add(3, _segmented([[1, 1, 1, 1]], [[1, 1, 1, 1]]))
    return scans.tables()


def test_slices_of_a_scan_are_measured_together_and_pictures_are_not(found):
    single, multi = found["single"], found["multi"]
    assert single[["volume_id", "patient_id", "class", "num_slices"]].values.tolist() == [
        ["a", "p", "lesion", 2], ["b", "q", "lesion", 1]
    ]  # fmt: skip
    assert multi["class"].tolist() == ["lesion", "ggo", "consolidation"] * 2
    assert tuple(single) == tuple(multi) == columns.VOLUMES
    of_a = multi[multi["volume_id"] == "a"].set_index("class")
    assert of_a["truth_ml"].to_dict() == pytest.approx({"lesion": 0.03, "ggo": 0.01, "consolidation": 0.02})
    assert of_a["volume_error_ml"].to_dict() == pytest.approx({"lesion": 0, "ggo": 0.01, "consolidation": -0.01})
    assert of_a["dice"].to_dict() == pytest.approx({"lesion": 1, "ggo": 2 / 3, "consolidation": 2 / 3})
    assert single["dice"].tolist() == pytest.approx([1, np.nan], nan_ok=True)  # the ignored pixel is no error


def test_undefined_values_are_counted(found, tmp_path):
    evaluate._write_volumes(tmp_path, found, 0)
    summary = pd.read_csv(tmp_path / "single_volumes_summary.csv").set_index("metric")
    assert summary[["n", "excluded"]].loc[list(volume.METRICS)].values.tolist() == [[1, 1], [1, 1], [1, 1], [2, 0]]
    assert len(pd.read_csv(tmp_path / "multi_volumes.csv")) == 6


def test_data_without_volumes_have_no_table(tmp_path):
    scans = volumes.Volumes(TABLE[["slice_id", "patient_id"]])
    scans.add(0, _segmented([[1]], [[1]]))
    assert all(table.empty for table in scans.tables().values())
    evaluate._write_volumes(tmp_path, scans.tables(), 0)
    assert not list(tmp_path.iterdir())

import json

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.kit import table_files


def test_broken_metrics_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step"\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"Line 2 of .*metrics\.jsonl is not JSON"):
        table_files.read_metrics(path)
    path.write_text('{"epoch": 1, "loss": 0.1}\n')
    with pytest.raises(ValueError, match="has a 'step'"):
        table_files.read_metrics(path)


def test_repeated_steps_count_once_as_logged_last(tmp_path):
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "loss": 1.5}]
    rows.append({"step": 2, "phase": "val", "val_dice": 0.4})
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    metrics = table_files.read_metrics(tmp_path / "metrics.jsonl")
    assert metrics["loss"].dropna().tolist() == [3.0, 1.5]
    assert metrics["phase"].tolist() == ["train", "train", "val"]


def test_booleans_of_a_csv():
    held = pd.Series([True, False, "True", "false", "yes", 1, 1.0, 0, None, np.nan], dtype=object)
    assert table_files.as_bool(held).tolist() == [True, False, True, False, True, True, True, False, False, False]

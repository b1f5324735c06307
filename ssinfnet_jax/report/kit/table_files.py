"""Reads tables and other files of a run folder.

A missing file gives None, since its stage may not have run; a file that lacks a column is an error.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_TEXT = ("slice_id", "patient_id", "run", "data", "method", "reference", "class")  # text, even if it looks like 007


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file; None if it does not exist.

    Raises: ValueError for a file that is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); delete it, and the done.json of its stage, and run the same command again."
        ) from error


def read_csv(path: pathlib.Path, required: Sequence[str] = (), *, remedy: str = "") -> pd.DataFrame | None:
    """Reads a CSV file with ids as text; None if it does not exist.

    Args:
      path: of the file.
      required: columns that must be there.
      remedy: for missing columns; "": to run the stage again.
    Raises: ValueError for missing columns.
    """
    if not path.is_file():
        return None
    try:
        # pandas' own list of missing values includes words such as null, which mediate/truth.csv uses.
        table = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=["", "nan", "NaN"])
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(required))
    missing = [name for name in required if name not in table]
    if missing:
        remedy = remedy or f"delete {path.parent.name}/done.json and run the same command again to rewrite the file"
        raise ValueError(f"{path} lacks the columns {missing} (it has {list(table.columns)}); {remedy}.")
    return table


def read_metrics(path: pathlib.Path) -> pd.DataFrame | None:
    """Reads a metrics.jsonl; None if it does not exist or has no row.

    An incomplete last line (of an interrupted run) is dropped; of a step that was repeated on resuming, the last
    row counts.

    Args:
      path: one JSON object per line with `step`, `phase` and any numbers.
    Raises: ValueError for another line that is not JSON, or a file without `step`.
    """
    if not path.is_file():
        return None
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    rows = []
    for count, line in enumerate(lines, start=1):
        try:
            rows.append({"phase": "train"} | json.loads(line))
        except json.JSONDecodeError as error:
            if count < len(lines):
                raise ValueError(f"Line {count} of {path} is not JSON ({error}); delete that line.") from error
    if not rows:
        return None
    table = pd.DataFrame(rows)
    if "step" not in table:
        raise ValueError(f"No line of {path} has a 'step', over which curves are drawn; log it in every row.")
    table = table.drop_duplicates(["step", "phase"], keep="last")
    return table.sort_values("step", kind="stable", ignore_index=True)


def as_bool(column: pd.Series) -> pd.Series:
    """True for True, "true", "yes", 1 and 1.0; False for everything else, including missing values."""
    return column.astype(str).str.strip().str.lower().isin(["true", "yes", "1", "1.0"])


def flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """Flattens a nested config: {"data.config.seed": "0"}."""
    if isinstance(tree, Mapping) and tree:
        parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in tree.items())
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: json.dumps(tree) if not isinstance(tree, str) else tree}

"""Reads the files of a run folder that tables are made of.

Readers give None for a file that is not there (its stage was not run); a file that is there but lacks a column is an
error.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

# A name such as 007 is text.
_TEXT = ("slice_id", "patient_id", "run", "data", "method", "reference", "class")


def read_json(path: pathlib.Path) -> Any:
    """Content of a JSON file; None where there is no file.

    Raises: ValueError, naming the file, for something that is not JSON.
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
    """Table with ids as text; None where there is no file.

    Args:
      path: a CSV file of the run folder.
      required: columns without which the page cannot be made.
      remedy: what to do where they are missing; that for a file of a stage if empty.
    Raises: ValueError, naming the file, for missing columns.
    """
    if not path.is_file():
        return None
    try:
        # Only these mean "missing": pandas' own list holds words such as null, which mediate/truth.csv uses.
        table = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=["", "nan", "NaN"])
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(required))
    missing = [name for name in required if name not in table]
    if missing:
        remedy = remedy or f"delete {path.parent.name}/done.json and run the same command again to have it written anew"
        raise ValueError(f"{path} lacks the columns {missing} (it has {list(table.columns)}); {remedy}.")
    return table


def read_metrics(path: pathlib.Path) -> pd.DataFrame | None:
    """Rows of a metrics.jsonl; None where there is no file, or no row in it.

    A half-written last line (a run that was stopped) is dropped; a step that was repeated after a restart
    counts once, as it was logged last.

    Args:
      path: one JSON object per line with `step`, `phase` and any numbers.
    Raises: ValueError, naming file and line, for another line that is not JSON or lacks `step`.
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
        raise ValueError(f"No line of {path} has a 'step'; the curves are drawn over it: log it in every row.")
    table = table.drop_duplicates(["step", "phase"], keep="last")
    return table.sort_values("step", kind="stable", ignore_index=True)


def as_bool(column: pd.Series) -> pd.Series:
    """True for True, "true", "yes", 1 and 1.0; False for all else (so for a missing value)."""
    return column.astype(str).str.strip().str.lower().isin(["true", "yes", "1", "1.0"])


def flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """Nested config -> {"data.config.seed": "0"}."""
    if isinstance(tree, Mapping) and tree:
        parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in tree.items())
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: json.dumps(tree) if not isinstance(tree, str) else tree}

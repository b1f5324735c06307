"""A folder of Parquet parts that a long computation adds to and a later run resumes from."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir

_HEADER = "settings.json"


class Parts:
    """Rows with a unique `slice_id` in files `part-<number>.parquet`, and a JSON header that says how they were made.

    Parts are written atomically, so a killed run leaves complete parts only.

    Raises: ValueError if the folder has parts with a different header. They may be hours of work, so they are never
      deleted automatically.
    """

    def __init__(self, parts_dir: str | os.PathLike, header: Mapping[str, Any]):
        self._dir = pathlib.Path(parts_dir)
        self._dir.mkdir(parents=True, exist_ok=True)
        header = json.loads(json.dumps(header, sort_keys=True))
        path = self._dir / _HEADER
        if path.exists():
            self._check_same(json.loads(path.read_text()), header)
        elif self._paths():
            raise ValueError(f"{self._dir} has parts but no {_HEADER}; choose another parts_dir.")
        else:
            rundir.write_text(path, json.dumps(header, indent=2, sort_keys=True) + "\n")

    def read(self) -> pd.DataFrame:
        """All rows so far; an empty table without columns if there are none."""
        parts = [pd.read_parquet(path) for path in self._paths()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Writes another part."""
        number = 1 + max((int(path.stem.split("-")[1]) for path in self._paths()), default=-1)
        with rundir.writing(self._dir / f"part-{number:06d}.parquet") as path:
            pd.DataFrame(rows).to_parquet(path)

    def _paths(self) -> list[pathlib.Path]:
        return sorted(self._dir.glob("part-*.parquet"))

    def _check_same(self, stored: dict, wanted: dict) -> None:
        stored, wanted = _flat(stored), _flat(wanted)
        changes = [
            f"{key}: {stored.get(key)!r} there, {wanted.get(key)!r} now"
            for key in sorted(stored.keys() | wanted.keys())
            if stored.get(key) != wanted.get(key)
        ]
        if changes:
            raise ValueError(
                f"The parts in {self._dir} were made differently ({'; '.join(changes)}); "
                "choose another parts_dir, or delete this one to compute everything again."
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat

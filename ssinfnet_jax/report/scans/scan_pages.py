"""Pages of segmented scans: one with a slice viewer per scan, and an index with their measurements.

`write_case` writes the page of one scan, so that only one is in memory; `write` then makes the index from the table of
measurements. All pages work offline.
"""

import base64
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.report.kit import render, tables, viewer

INDEX = "report.html"
CASES = "cases"  # folder of the scans' pages


def write_case(out_dir: pathlib.Path, case: viewer.Case) -> pathlib.Path:
    """Writes the page of one scan, `cases/NAME.html`, and its picture for the index, `cases/NAME.jpg`.

    Args:
      out_dir: of the index.
      case: the scan.
    Returns: path of the page.
    """
    folder = out_dir / CASES
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(case.name)}.html"
    with rundir.writing(path.with_suffix(".jpg")) as picture:
        picture.write_bytes(base64.b64decode(viewer.preview(case).partition(",")[2]))
    return render.write(path, "case.html.j2", view=viewer.view(case), index=f"../{INDEX}")


def remove_case(out_dir: pathlib.Path, name: str) -> None:
    """Removes the files that `write_case` wrote for a scan, if any."""
    for ending in ("html", "jpg"):
        (out_dir / CASES / f"{file_name(name)}.{ending}").unlink(missing_ok=True)


def write(
    out_dir: pathlib.Path,
    measurements: pd.DataFrame,
    *,
    title: str,
    facts: Mapping[str, Any] | None = None,
    titles: Mapping[str, str] | None = None,
    headline: Sequence[tuple[str, str, str]] = (),
    without: pd.DataFrame | None = None,
) -> pathlib.Path:
    """Writes the index, `report.html`: every scan with its measurements and a link to its page, if it has one.

    Args:
      out_dir: the folder that `write_case` wrote to.
      measurements: one row per scan, whose name is in the column `case`; all other columns are shown.
      title: of the page.
      facts: how the scans were segmented (networks, window, versions, ...), by name.
      titles: column -> title; other columns are headed by their names.
      headline: (value, label, note) of the main results.
      without: scans without measurements: columns `scan`, `reason`.
    Returns: path of the index.
    Raises: ValueError without a column `case`, or if it has a name twice.
    """
    if "case" not in measurements or measurements["case"].duplicated().any():
        raise ValueError(
            f"The measurements need a column 'case' that has every scan once; found the columns {list(measurements)}"
            f"{'' if 'case' not in measurements else ' and a name twice'}."
        )
    return render.write(
        out_dir / INDEX,
        "segment.html.j2",
        title=title,
        facts=[(name, str(value)) for name, value in (facts or {}).items()],
        headline=[dict(zip(("value", "label", "note"), item, strict=True)) for item in headline],
        table=_table(out_dir, measurements, titles or {}),
        without=None if without is None or without.empty else _reasons(without),
    )


def file_name(name: str) -> str:
    """A file name, without extension, for a scan with any name; different names give different file names."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:80]
    return safe if safe == name else f"{safe or 'scan'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _table(out_dir: pathlib.Path, measurements: pd.DataFrame, titles: Mapping[str, str]) -> tables.Table:
    def scan(name: Any) -> tables.Cell:
        page = out_dir / CASES / f"{file_name(str(name))}.html"
        picture = page.with_suffix(".jpg")
        return tables.Cell(
            str(name),
            str(name).lower(),
            href=f"{CASES}/{page.name}" if page.is_file() else "",
            picture=_embedded(picture) if picture.is_file() else "",
        )

    columns = {"case": (titles.get("case", "Scan"), scan)}
    for name in measurements.columns.drop("case"):
        columns[name] = (titles.get(name, str(name).replace("_", " ")), tables.formatter(measurements[name]))
    table = tables.from_frame(measurements, "Measurements of every scan; click a name to see its slices.", columns)
    return dataclasses.replace(table, columns=[tables.Column(columns["case"][0]), *table.columns[1:]])


def _reasons(without: pd.DataFrame) -> tables.Table:
    columns = {name: (name.capitalize(), tables.text_cell) for name in ("scan", "reason")}
    return tables.from_frame(without, "Scans that were not segmented, and why.", columns)


def _embedded(picture: pathlib.Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"

"""Reads the run folder's tables, and writes numbers as readers of a paper expect them.

Readers give None for a file that is not there (its stage was not run); a file that is there but lacks a
column is an error. `Table` is what the page draws: text to show and a value to sort by, cell by cell.
"""

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
MAX_ROWS = 1000  # of one table on the page
_IDS = {"slice_id": str, "patient_id": str}  # ids such as 007 are text
_CLINICAL = {
    "age": "Age (years)",
    "gender": "Gender",
    "underlying": "Underlying diseases (number)",
    "severity_level": "Severity level",
}
_FIT = {
    "chisq": "Chi-square of the model against the data",
    "df": "Its degrees of freedom",
    "pvalue": "Its p (small: the model does not fit)",
    "cfi": "Comparative fit index (good: at least 0.95)",
    "tli": "Tucker-Lewis index (good: at least 0.95)",
    "rmsea": "Root mean square error of approximation (good: below 0.06)",
    "srmr": "Standardised root mean square residual (good: below 0.08)",
    "aic": "Akaike information criterion (to compare models)",
    "bic": "Bayesian information criterion (to compare models)",
    "logl": "Log-likelihood",
    "npar": "Free parameters",
    "ntotal": "Patients",
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """Text shown, the value it is sorted by (None: last), a second, smaller line, a link, a picture (data URI)."""

    text: str
    sort: float | str | None = None
    note: str = ""
    href: str = ""
    picture: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """Head of a column; numbers stand on the right."""

    title: str
    numeric: bool = False
    hint: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns and rows of cells, with the sentence above them."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: str = ""


Formatter = Callable[[Any], Cell]


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits; whole numbers whole; powers of ten outside [1e-4, 1e6).

    Args:
      value: number, or None / NaN (an en dash).
      digits: significant digits of what is not whole, >= 1.
    """
    if value is None or pd.isna(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    value = float(value)
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    if value.is_integer() and abs(value) < 1e15:
        text = f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    elif not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        text = f"{value:,.{_decimals(value, digits)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return text.replace("-", MINUS)


def mean_error(mean: Any, error: Any, digits: int = 3) -> str:
    """`0.712 ± 0.043`: both with the decimals that give the mean its significant digits (three at least)."""
    if mean is None or pd.isna(mean):
        return MISSING
    decimals = max(_decimals(float(mean), digits), 3 if abs(mean) <= 1 else 0)
    text = f"{mean:.{decimals}f}"
    if error is not None and not pd.isna(error):
        text += f" ± {error:.{decimals}f}"
    return text.replace("-", MINUS)


def p_value(value: Any) -> str:
    """`< 0.001` or three decimals."""
    if value is None or pd.isna(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """`45.2 s`, `3 min 20 s`, `5 h 07 min`."""
    if seconds is None or pd.isna(seconds):
        return MISSING
    if seconds < 60:
        return f"{number(seconds) if seconds < 1 else f'{seconds:.1f}'} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def text_cell(value: Any) -> Cell:
    """Any value as text; nothing for None and NaN."""
    text = MISSING if value is None or value is pd.NA or value != value else str(value)
    return Cell(text, text.lower() if text != MISSING else None)


def number_cell(value: Any) -> Cell:
    """A number with three significant digits."""
    return Cell(number(value), None if value is None or pd.isna(value) else float(value))


def p_cell(value: Any) -> Cell:
    """A p-value."""
    return Cell(p_value(value), None if value is None or pd.isna(value) else float(value))


def as_bool(column: pd.Series) -> pd.Series:
    """True for True, "true", "yes", 1 and 1.0; False for all else (so for a missing value)."""
    return column.astype(str).str.strip().str.lower().isin(["true", "yes", "1", "1.0"])


def read_json(path: pathlib.Path) -> Any:
    """Content of a JSON file; None where there is no file.

    Raises: ValueError, naming the file, for something that is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it and run its stage again.") from error


def read_csv(path: pathlib.Path, required: Sequence[str] = ()) -> pd.DataFrame | None:
    """Table with ids as text; None where there is no file.

    Args:
      path: a CSV file of the run folder.
      required: columns without which the page cannot be made.
    Raises: ValueError, naming the file, for missing columns.
    """
    if not path.is_file():
        return None
    try:
        # Only these mean "missing": pandas' own list holds words such as null, which mediate/truth.csv uses.
        table = pd.read_csv(path, dtype=_IDS, keep_default_na=False, na_values=["", "nan", "NaN"])
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=list(required))
    missing = [name for name in required if name not in table]
    if missing:
        raise ValueError(
            f"{path} lacks the columns {missing} (it has {list(table.columns)}); delete "
            f"{path.parent.name}/done.json and run the same command again to have it written anew."
        )
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


def from_frame(
    frame: pd.DataFrame,
    caption: str,
    columns: Mapping[str, tuple[str, Formatter]] | None = None,
    *,
    foot: str = "",
    max_rows: int = MAX_ROWS,
) -> Table:
    """Table of a data frame.

    Args:
      frame: rows to show, in their order.
      caption: the sentence above.
      columns: by column of the frame, its head and how a cell is written; columns that the frame does not
        have are left out. None: all columns as they are.
      foot: the sentence below.
      max_rows: the rest is left out, and the foot says so.
    """
    if columns is None:
        columns = {str(name): (str(name).replace("_", " "), formatter(frame[name])) for name in frame}
    held = {name: pair for name, pair in columns.items() if name in frame}
    heads = [Column(head, write is not text_cell) for head, write in held.values()]
    rows = [
        [write(value) for (_, write), value in zip(held.values(), values, strict=True)]
        for values in frame[list(held)].head(max_rows).itertuples(index=False, name=None)
    ]
    if len(frame) > max_rows:
        foot = f"{foot} The first {max_rows} of {len(frame)} rows; the file has them all.".strip()
    return Table(caption, heads, rows, foot)


def formatter(column: pd.Series) -> Formatter:
    """How a column is written whose meaning is not known: p-values, numbers, text."""
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return text_cell
    return p_cell if re.search(r"(^|_)p(_adj|value)?$", str(column.name)) else number_cell


def splits(slices: pd.DataFrame) -> Table:
    """Slices, patients and labels per split, and in all.

    Args:
      slices: prepare/slices.csv.
    """
    order = {"train": 0, "val": 1, "test": 2, "pretrain": 3, "cohort": 4}
    names = sorted(slices["split"].dropna().unique(), key=lambda name: (order.get(name, 9), str(name)))
    parts = [(str(name), slices[slices["split"] == name]) for name in names] + [("All, each once", slices)]
    counted = {"has_lesion": "With lesion label", "has_classes": "With GGO / consolidation label"}
    counted = {name: head for name, head in counted.items() if name in slices}
    columns = [Column("Split"), Column("Patients", True), Column("Slices", True)]
    columns += [Column(head, True) for head in counted.values()]
    healthy = "severity_level" in slices
    columns += [Column("Healthy controls (patients)", True)] if healthy else []
    rows = []
    for name, part in parts:
        part = part.drop_duplicates("slice_id")
        counts = [part["patient_id"].nunique(), len(part), *(as_bool(part[key]).sum() for key in counted)]
        if healthy:
            well = part["severity_level"].astype(str).str.lower().str.contains("healthy")
            counts.append(part.loc[well, "patient_id"].nunique())
        rows.append([text_cell(name), *(number_cell(int(count)) for count in counts)])
    return Table("Patients and slices of each split.", columns, rows)


def shared_patients(slices: pd.DataFrame, between: Sequence[str] = ("train", "val", "test")) -> list[str]:
    """Patients who are in more than one of the given splits: there should be none.

    Args:
      slices: prepare/slices.csv.
      between: splits that must not share a patient.
    """
    held = slices[slices["split"].isin(list(between))].groupby("patient_id")["split"].nunique()
    return sorted(str(patient) for patient in held.index[held > 1])


def clinical(slices: pd.DataFrame) -> Table | None:
    """Each clinical column over patients: mean (SD) and range, or counts; None without such columns.

    Args:
      slices: prepare/slices.csv; all columns that are not of the schema count as clinical.
    """
    schema = {"slice_id", "patient_id", "part", "split", "has_lesion", "has_classes", "pretrain"}
    names = [name for name in slices if name not in schema and slices[name].notna().any()]
    patients = slices.drop_duplicates("patient_id")
    rows = []
    for name in names:
        held = patients[name].dropna()
        held = held.map({0: "female", 1: "male"}) if name == "gender" and held.isin([0, 1]).all() else held
        numeric = pd.api.types.is_numeric_dtype(held) and not pd.api.types.is_bool_dtype(held)
        if numeric and held.nunique() > 2:
            text = f"mean {number(held.mean())} (SD {number(held.std())}), "
            text += f"{number(held.min())} to {number(held.max())}"
        else:
            counts = held.value_counts()
            text = ", ".join(f"{_label(value)}: {count}" for value, count in counts.head(8).items())
            text += f" and {len(counts) - 8} more values" if len(counts) > 8 else ""
        missing = len(patients) - len(held)
        rows.append(
            [
                text_cell(_CLINICAL.get(name, name)),
                number_cell(len(held)),
                number_cell(missing),
                Cell(text, text),
            ]
        )
    columns = [Column("Column"), Column("Patients", True), Column("Missing", True), Column("Values")]
    return Table("Clinical columns, every patient counted once.", columns, rows) if rows else None


def summary(table: pd.DataFrame, titles: Mapping[str, str], caption: str) -> Table:
    """Mean ± 1.96 standard errors of each class (rows) and metric (columns), with n and the excluded.

    Args:
      table: evaluate/*_summary.csv.
      titles: how classes and metrics are written.
      caption: the sentence above.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    rows = []
    for kind in dict.fromkeys(table["class"]):
        part = table[table["class"] == kind].set_index("metric")
        cells = [text_cell(titles.get(kind, str(kind)))]
        for metric in metrics:
            if metric not in part.index:
                cells.append(Cell(MISSING))
                continue
            row = part.loc[metric]
            excluded = "" if pd.isna(row["excluded"]) else f", {number(row['excluded'])} excl."
            note = "" if pd.isna(row["n"]) else f"n = {number(row['n'])}{excluded}"
            cells.append(Cell(mean_error(row["mean"], row["error"]), number_cell(row["mean"]).sort, note))
        rows.append(cells)
    heads = [Column("Class"), *(Column(titles.get(name, name.capitalize()), True) for name in metrics)]
    return Table(caption, heads, rows)


def per_slice(table: pd.DataFrame, titles: Mapping[str, str], caption: str) -> Table:
    """Every slice with its metrics, worst Dice first.

    Args:
      table: evaluate/*_slices.csv.
      titles: how classes and metrics are written.
      caption: the sentence above.
    """
    known = {"slice_id": "Slice", "patient_id": "Patient", "class": "Class"}
    shown = table.assign(**{"class": table["class"].map(lambda kind: titles.get(kind, kind))})
    columns = {name: (head, text_cell) for name, head in known.items()}
    for name in table.columns.difference(list(known), sort=False):
        write = formatter(table[name])
        columns[name] = (titles.get(name, str(name).capitalize()), write)
    return from_frame(shown.sort_values("dice", na_position="last"), caption, columns)


def describe(frame: pd.DataFrame, caption: str, names: Mapping[str, str]) -> Table:
    """Count, mean, SD, quartiles and range of columns.

    Args:
      frame: one row per observation.
      caption: the sentence above.
      names: how each column is written; those the frame does not have are left out.
    """
    heads = ["Quantity", "n", "Missing", "Mean", "SD", "Min", "1st quartile", "Median", "3rd quartile", "Max"]
    rows = []
    for name in (name for name in names if name in frame):
        held = frame[name].dropna()
        numbers = [
            len(held),
            len(frame) - len(held),
            held.mean(),
            held.std(),
            *held.quantile([0, 0.25, 0.5, 0.75, 1]),
        ]
        rows.append([text_cell(names[name]), *(number_cell(value) for value in numbers)])
    return Table(caption, [Column(head, index > 0) for index, head in enumerate(heads)], rows)


def mediation(univariate: pd.DataFrame, caption: str, *, verdict: bool) -> Table:
    """Effects of each exposure-mediator pair with their standard errors, smallest adjusted p first.

    Args:
      univariate: mediate/univariate.csv, or some of its rows, with bool columns `is_mediator`, `found`.
      caption: the sentence above.
      verdict: whether two last columns say which pairs are significant by their indirect effect (or why one
        could not be fitted) and by the paper's three regressions.
    """
    effects = {
        "indirect": ("Indirect", "a times b"),
        "a": ("a", "exposure to mediator"),
        "b": ("b", "mediator to outcome, given the exposure"),
        "direct": ("Direct", "exposure to outcome, given the mediator"),
        "total": ("Total", "exposure to outcome"),
    }
    effects = {name: pair for name, pair in effects.items() if f"{name}_est" in univariate}
    heads = [Column("Exposure"), Column("Mediator"), Column("n", True)]
    heads += [Column("p (adj.)", True, "of the indirect effect, adjusted for the number of tests")]
    heads += [Column("Indirect, std.", True, "indirect effect of standardised variables")]
    heads += [Column(head, True, hint) for head, hint in effects.values()]
    heads += [Column("Significant"), Column("Paper's rule")] if verdict else []
    rows = []
    ordered = univariate.sort_values("indirect_p_adj") if "indirect_p_adj" in univariate else univariate
    for _, row in ordered.head(MAX_ROWS).iterrows():
        cells = [text_cell(row["exposure"]), text_cell(row["mediator"]), number_cell(row.get("n"))]
        cells += [p_cell(row.get("indirect_p_adj")), number_cell(row.get("indirect_std"))]
        for name in effects:
            error = row.get(f"{name}_se")
            note = "" if error is None or pd.isna(error) else f"SE {number(error, 2)}"
            cells.append(dataclasses.replace(number_cell(row[f"{name}_est"]), note=note))
        if verdict:
            cells += [text_cell(row.get("flag") or ("yes" if row["is_mediator"] else "no"))]
            cells += [text_cell("yes" if row.get("is_mediator_paper") else "no")]
        rows.append(cells)
    foot = "SE: standard error."
    if len(univariate) > MAX_ROWS:
        foot += f" The first {MAX_ROWS} of {len(univariate)} rows; the file has them all."
    return Table(caption, heads, rows, foot)


def estimates(table: pd.DataFrame) -> Table:
    """Estimates of the model with several mediators, in the order of lavaan's output.

    Args:
      table: mediate/multiple_estimates.csv.
    """
    columns = {
        "parameter": ("Parameter", text_cell),
        "label": ("Label", text_cell),
        "est": ("Estimate", number_cell),
        "se": ("SE", number_cell),
        "z": ("z", number_cell),
        "p": ("p", p_cell),
        "std": ("Standardised", number_cell),
    }
    named = table.assign(parameter=table["lhs"] + " " + table["op"] + " " + table["rhs"])
    caption = "Estimates of the model with several mediators (maximum likelihood)."
    foot = "~ regression, ~~ (co)variance, := defined (an indirect or total effect)."
    return from_frame(named, caption, columns, foot=foot)


def total_effects(table: pd.DataFrame) -> Table:
    """Effects of the exposures without any mediator.

    Args:
      table: mediate/multiple_total_effects.csv.
    """
    columns = {
        "exposure": ("Exposure", text_cell),
        "est": ("Estimate", number_cell),
        "se": ("SE", number_cell),
        "t": ("t", number_cell),
        "p": ("p", p_cell),
        "std": ("Standardised", number_cell),
    }
    return from_frame(table, "Total effects: a model of the exposures alone (least squares).", columns)


def fit_measures(fit: Mapping[str, Any]) -> Table:
    """Fit measures, with what each means where it is known.

    Args:
      fit: mediate/multiple_fit.json.
    """
    rows = []
    for name, value in fit.items():
        write = p_cell if name == "pvalue" else text_cell if isinstance(value, (str, bool)) else number_cell
        rows.append([text_cell(name), write(value), text_cell(_FIT.get(name, ""))])
    return Table("Fit of that model.", [Column("Measure"), Column("Value", True), Column("Meaning")], rows)


def flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """Nested config -> {"data.config.seed": "0"}."""
    if isinstance(tree, Mapping) and tree:
        parts = (flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in tree.items())
        return {key: value for part in parts for key, value in part.items()}
    return {prefix: json.dumps(tree) if not isinstance(tree, str) else tree}


def _decimals(value: float, digits: int) -> int:
    if value == 0:
        return digits
    return max(digits - 1 - math.floor(math.log10(abs(value))), 0)


def _label(value: Any) -> str:
    return number(value) if isinstance(value, (int, float, np.number)) else str(value)

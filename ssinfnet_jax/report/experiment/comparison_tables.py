"""Tables of an experiment as a paper prints them: metrics by method, comparison with the reference, factors, cost."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.report.experiment import read_grid
from ssinfnet_jax.report.kit import tables
from ssinfnet_jax.report.kit.figure_style import TITLES
from ssinfnet_jax.report.kit.table_export import TableFile, write

ALPHA = 0.05  # of an adjusted p
MARKS = {True: "●", False: "○"}
_COST = {  # columns of tables/cost.csv; others are headed by their names
    "network": "Network",
    "model": "Model",
    "device": "Device",
    "image_size": "Image size (px)",
    "batch_size": "Batch size",
    "parameters_segmenting": "Parameters (segmentation)",
    "parameters": "Parameters (all)",
    "gflop_per_slice": "GFLOP per slice",
    "inference_s_per_slice": "Inference (s per slice)",
    "training_s_per_slice": "Training (s per slice)",
    "inference_peak_gib": "Peak memory, inference (GiB)",
    "training_peak_gib": "Peak memory, training (GiB)",
}


def write_all(experiment: read_grid.Experiment) -> list[TableFile]:
    """Writes `DIR/tables/*_table.{csv,md,tex}` of what there is.

    Args:
      experiment: whose tables are read.
    Returns: the tables written, in the order of a page.
    """
    made = [
        cost(experiment), metrics(experiment), published(experiment), comparison(experiment), factors(experiment)
    ]  # fmt: skip
    held = [table for table in made if table is not None]
    for table in held:
        write(experiment.folder / "tables", table)
    return held


def metrics(experiment: read_grid.Experiment) -> TableFile | None:
    """Mean ± 1.96 standard errors: a row per class and method, a column per metric, the best of a class bold.

    A method without a finished run keeps its row, empty. In an ablation a column per factor marks who has it.

    Returns: None where there is no summary.csv.
    Raises: ValueError if a mean stands there twice.
    """
    summary = experiment.summary
    if summary is None:
        return None
    keys = ["data", "class", "method", "metric"]
    twice = summary[summary.duplicated(keys)]
    if len(twice):
        raise ValueError(
            f"{experiment.folder / 'tables' / 'summary.csv'} has {tuple(twice.iloc[0][keys])} twice; collect the runs "
            "again to have it written anew."
        )
    held = {tuple(row[key] for key in keys): row for _, row in summary.iterrows()}
    shown = [name for name in overlap.METRICS if name in set(summary["metric"])]
    shown += [name for name in dict.fromkeys(summary["metric"]) if name not in shown]
    place = _Place.of(experiment, summary)
    rows, numbers = [], []
    for data, kind in place.groups:
        texts = {name: [_cell(held.get((data, kind, method, name))) for method in experiment.methods] for name in shown}
        strong = {name: _best(cells) for name, cells in texts.items()}
        for index, method in enumerate(experiment.methods):
            part = summary[(summary["data"] == data) & (summary["class"] == kind) & (summary["method"] == method)]
            first = part[part["metric"] == shown[0]]
            cells = [*place.cells(data, kind, method), *_counts(first, part)]
            for name in shown:
                cell = dataclasses.replace(texts[name][index], strong=index in strong[name])
                row = held.get((data, kind, method, name))
                differs = row is not None and len(first) and row["n"] != first.iloc[0]["n"]
                cells.append(dataclasses.replace(cell, note=f"n = {tables.number(row['n'])}" if differs else ""))
            rows.append(cells)
            numbers.append(place.numbers(data, kind, method) | _wide(part))
    columns = [*place.columns, *_count_columns(summary), *(tables.Column(_title(name), True) for name in shown)]
    table = tables.Table(_caption(experiment, place), columns, rows, _metrics_foot(experiment, place, summary))
    return TableFile("metrics_table", table, pd.DataFrame(numbers))


def comparison(experiment: read_grid.Experiment, *, only: str | None = None) -> TableFile | None:
    """Paired difference of each method from the reference, with interval, effect size and p-values.

    Args:
      experiment: whose comparison.csv is read.
      only: a metric, if not all are wanted.
    Returns: None where there is no comparison.csv (or nothing of that metric).
    """
    held = experiment.comparison
    held = held if held is None or only is None else held[held["metric"] == only]
    if held is None or held.empty:
        return None
    place = _Place.of(experiment, held)
    has_effect, has_seeds = ("effect" in held and held["effect"].notna().any()), _given(held, "seed_p")
    columns = [*place.columns, *([] if only else [tables.Column("Metric")])]
    columns += [tables.Column("n", True, "slices that both methods have a value of"), *_patient_column(held)]
    columns += [tables.Column("Difference", True, "method minus reference"), tables.Column("95 % interval", True)]
    columns += [tables.Column("Effect size", True)] if has_effect else []
    columns += [tables.Column("p", True), tables.Column("p (Holm)", True)]
    columns += [tables.Column("p over seeds", True)] if has_seeds else []
    order = {name: number for number, name in enumerate(place.order)}
    ordered = held.assign(place=[order[row] for row in zip(held["data"], held["class"], held["method"], strict=True)])
    rows = []
    for _, row in ordered.sort_values("place", kind="stable").iterrows():
        cells = place.cells(row["data"], row["class"], row["method"])
        cells += [] if only else [tables.text_cell(_title(row["metric"]))]
        cells += [tables.number_cell(row["n"]), *([tables.number_cell(row["patients"])] if "patients" in held else [])]
        cells += [_difference(row["difference"]), _interval(row["low"], row["high"])]
        cells += [tables.number_cell(row["effect"])] if has_effect else []
        adjusted = tables.p_cell(row["p_adj"])
        cells += [tables.p_cell(row["p"]), dataclasses.replace(adjusted, strong=bool(row["p_adj"] < ALPHA))]
        cells += [tables.p_cell(row["seed_p"])] if has_seeds else []
        rows.append(cells)
    references = " and ".join(experiment.methods.get(name, name) for name in dict.fromkeys(held["reference"]))
    what = ", ".join(filter(None, [_title(only) if only else "", place.alone]))
    caption = f"Paired differences{f' ({what})' if what else ''}: method minus {references}."
    foot = (
        "Pairs are the same slices. Interval: 95 % bootstrap over patients where they are known, else over slices. p: "
        f"Wilcoxon signed-rank; p (Holm): adjusted, bold below {ALPHA}."
    )
    foot += " p over seeds: of the differences between training seeds." if has_seeds else ""
    return TableFile("comparison_table", tables.Table(caption, columns, rows, foot), held.reset_index(drop=True))


def factors(experiment: read_grid.Experiment, *, only: str | None = None) -> TableFile | None:
    """Main effect of each factor of an ablation: mean difference of with and without, over the pairs that differ in it.

    Args:
      experiment: whose factors.csv is read.
      only: a metric, if not all are wanted.
    Returns: None where there is no factors.csv (or nothing of that metric).
    """
    held = experiment.effects
    held = held if held is None or only is None else held[held["metric"] == only]
    if held is None or held.empty:
        return None
    alone = held["data"].nunique() == 1
    columns = [] if alone else [tables.Column("Data")]
    columns += [tables.Column("Factor"), tables.Column("Class"), tables.Column("Metric"), tables.Column("Pairs", True)]
    columns += [tables.Column("n", True, "slices"), tables.Column("Main effect", True, "with minus without")]
    columns += [tables.Column("95 % interval", True), tables.Column("p", True), tables.Column("p (Holm)", True)]
    columns += [tables.Column("Single pairs", True, "smallest and largest difference of a pair")]
    rows = []
    for _, row in held.iterrows():
        cells = [] if alone else [tables.text_cell(row["data"])]
        cells += [tables.text_cell(row["factor"]), tables.text_cell(_title(row["class"]))]
        cells += [tables.text_cell(_title(row["metric"]))]
        cells += [tables.number_cell(row[name]) for name in ("pairs", "n")]
        adjusted = dataclasses.replace(tables.p_cell(row["p_adj"]), strong=bool(row["p_adj"] < ALPHA))
        cells += [_difference(row["difference"]), _interval(row["low"], row["high"]), tables.p_cell(row["p"]), adjusted]
        cells += [_interval(row["smallest"], row["largest"], "to")]
        rows.append(cells)
    every = 2 ** (len(next(iter(experiment.factors.values()))) - 1)
    missing = "" if (held["pairs"] == every).all() else f" Of a full design there are {every} pairs; some are missing."
    foot = (
        "Mean difference, with the factor minus without, over the pairs of methods that differ in it alone; 95 % "
        "bootstrap interval over patients where they are known, else over slices, not adjusted; p: Wilcoxon "
        f"signed-rank; p (Holm): adjusted over all rows, bold below {ALPHA}. Single pairs: where they differ much, the "
        f"factor acts otherwise beside another one, and the mean says little.{missing}"
    )
    table = tables.Table("Main effects of the factors.", columns, rows, foot)
    return TableFile("factors_table", table, held)


def published(experiment: read_grid.Experiment) -> TableFile | None:
    """Published figures for the official test part; None where it was not what was tested."""
    held = experiment.published
    if held is None:
        return None
    columns = [tables.Column("Method"), tables.Column("Class"), tables.Column("Metric"), tables.Column("Mean", True)]
    columns += [tables.Column("n", True, "slices"), tables.Column("Source")]
    rows = [
        [tables.text_cell(row["method"]), *(tables.text_cell(_title(row[name])) for name in ("class", "metric")),
         tables.number_cell(row["mean"]), tables.number_cell(row["n"]), tables.text_cell(row["source"])]
        for _, row in held.iterrows()
    ]  # fmt: skip
    caption = "The official test part was used. What others have published for it:"
    return TableFile("published_table", tables.Table(caption, columns, rows), held)


def cost(experiment: read_grid.Experiment) -> TableFile | None:
    """What each network costs, as tables/cost.csv has it; None where there is none."""
    held = experiment.cost
    if held is None:
        return None
    shown = held.dropna(axis=1, how="all")
    columns = {str(name): (cost_title(str(name)), tables.formatter(shown[name])) for name in shown}
    return TableFile("cost_table", tables.from_frame(shown, "Cost of each network.", columns), held)


def cost_title(column: str) -> str:
    """`memory_mib` -> `Peak memory (MiB)`; an unknown column by its own words."""
    return _COST.get(column) or column.replace("_", " ").capitalize()


@dataclasses.dataclass(frozen=True)
class _Place:
    """What a row is of: data, class, method (and its factors); what is the same in all rows has no column."""

    experiment: read_grid.Experiment
    groups: Sequence[tuple[str, str]]
    several_data: bool
    several_classes: bool

    @classmethod
    def of(cls, experiment: read_grid.Experiment, table: pd.DataFrame) -> "_Place":
        data, classes = list(dict.fromkeys(table["data"])), list(dict.fromkeys(table["class"]))
        known = ["lesion", "ggo", "consolidation", "background", "overall"]
        classes = sorted(classes, key=lambda kind: known.index(kind) if kind in known else len(known))
        return cls(experiment, [(d, k) for d in data for k in classes], len(data) > 1, len(classes) > 1)

    @property
    def order(self) -> list[tuple[str, str, str]]:
        return [(data, kind, method) for data, kind in self.groups for method in self.experiment.methods]

    @property
    def alone(self) -> str:
        """The class, if there is one only."""
        return "" if self.several_classes else _title(self.groups[0][1]).lower()

    @property
    def columns(self) -> list[tables.Column]:
        columns = [tables.Column("Data")] if self.several_data else []
        columns += [tables.Column("Class")] if self.several_classes else []
        return [*columns, tables.Column("Method"), *(tables.Column(_title(name)) for name in self._factors)]

    @property
    def _factors(self) -> list[str]:
        return list(dict.fromkeys(name for held in self.experiment.factors.values() for name in held))

    def cells(self, data: str, kind: str, method: str) -> list[tables.Cell]:
        cells = [tables.text_cell(data)] if self.several_data else []
        cells += [tables.text_cell(_title(kind))] if self.several_classes else []
        marks = [MARKS.get(self.experiment.factors.get(method, {}).get(name), "") for name in self._factors]
        return [*cells, tables.text_cell(self.experiment.methods[method]), *(tables.Cell(mark, mark) for mark in marks)]

    def numbers(self, data: str, kind: str, method: str) -> dict:
        held = {"data": data, "class": kind, "method": method, "title": self.experiment.methods[method]}
        return held | {name: self.experiment.factors.get(method, {}).get(name) for name in self._factors}


def _wide(part: pd.DataFrame) -> dict[str, float]:
    """Numbers of one class and method: `dice`, `dice_error`, `dice_n`, ..."""
    wide = {}
    for _, row in part.iterrows():
        wide |= {row["metric"]: row["mean"], f"{row['metric']}_error": row["error"], f"{row['metric']}_n": row["n"]}
    return wide


def _cell(row: Mapping[str, Any] | None) -> tables.Cell:
    if row is None:
        return tables.Cell(tables.MISSING)
    return tables.Cell(tables.mean_error(row["mean"], row["error"]), tables.number_cell(row["mean"]).sort)


def _best(cells: Sequence[tables.Cell]) -> set[int]:
    """Who shows the highest mean, several if they show the same; nobody where there is nobody to be better than."""
    means = {index: cell.text.split(" ±")[0] for index, cell in enumerate(cells) if cell.sort is not None}
    best = max(means, key=lambda index: cells[index].sort, default=None)
    return {index for index, text in means.items() if text == means[best]} if len(means) > 1 else set()


def _counts(first: pd.DataFrame, part: pd.DataFrame) -> list[tables.Cell]:
    if first.empty:
        return [tables.Cell(tables.MISSING) for _ in _count_columns(part)]
    row = first.iloc[0]
    left_out = row.get("excluded")
    note = "" if not left_out or pd.isna(left_out) else f"{tables.number(left_out)} excluded"
    cells = [dataclasses.replace(tables.number_cell(row["n"]), note=note)]
    return cells + [tables.number_cell(row[name]) for name in ("patients", "seeds") if name in part]


def _count_columns(table: pd.DataFrame) -> list[tables.Column]:
    columns = [tables.Column("n", True, "slices on which the first metric is defined"), *_patient_column(table)]
    return columns + ([tables.Column("Seeds", True)] if "seeds" in table else [])


def _patient_column(table: pd.DataFrame) -> list[tables.Column]:
    return [tables.Column("Patients", True)] if "patients" in table else []


def _caption(experiment: read_grid.Experiment, place: _Place) -> str:
    of = f" of the {place.alone}" if place.alone and place.alone != "overall" else ""
    return f"Metrics{of} by method: mean ± 1.96 standard errors over test slices."


def _metrics_foot(experiment: read_grid.Experiment, place: _Place, summary: pd.DataFrame) -> str:
    foot = "Bold: the highest mean, which does not say that it is significantly so (see the comparison)."
    if place.several_classes:
        foot += " Overall: the average of background, GGO and consolidation."
    if "excluded" in summary and (summary["excluded"].fillna(0) > 0).any():
        foot += (
            " Excluded: slices on which a metric is undefined, as a class is absent; means with another n are of other "
            "slices."
        )
    if experiment.factors:
        foot += f" {MARKS[True]} with, {MARKS[False]} without."
    absent = [title for name, title in experiment.methods.items() if name not in set(summary["method"])]
    return foot + (f" No finished run: {', '.join(absent)}." if absent else "")


def _difference(value: float) -> tables.Cell:
    return tables.Cell(signed(value), None if pd.isna(value) else float(value))


def _interval(low: float, high: float, between: str = ",") -> tables.Cell:
    if pd.isna(low) or pd.isna(high):
        return tables.Cell(tables.MISSING)
    return tables.Cell(f"{signed(low)}{between if between == ',' else f' {between}'} {signed(high)}", float(low))


def signed(value: float) -> str:
    """`+0.012`, `−0.003`: a difference with three decimals."""
    text = f"{value:+.3f}".replace("-0.000", "+0.000")
    return tables.MISSING if pd.isna(value) else text.replace("-", tables.MINUS)


def _given(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _title(name: str) -> str:
    name = str(name)
    return TITLES.get(name.lower()) or re.sub("_", " ", name[:1].upper() + name[1:])

"""Tables of an experiment for a paper: metrics by method, differences from the reference, factors, cost."""

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
_COST = {  # titles of columns of tables/cost.csv
    "network": "Network",
    "model": "Model",
    "device": "Device",
    "image_size": "Image size (px)",
    "batch_size": "Batch size",
    "jax": "JAX",
    "num_devices": "Devices",
    "cpus": "Cores",
    "parameters_segmenting": "Parameters (segmentation)",
    "parameters": "Parameters (all)",
    "gflop_per_slice": "GFLOP per slice",
    "inference_s_per_slice": "Inference (s per slice)",
    "training_s_per_slice": "Training (s per slice)",
    "inference_peak_gib": "Peak memory, inference (GiB)",
    "training_peak_gib": "Peak memory, training (GiB)",
    "inference_compile_s": "Compiling, inference (s)",
    "training_compile_s": "Compiling, training (s)",
    "inference_temp_mib": "Temporary memory, inference (MiB)",
    "training_temp_mib": "Temporary memory, training (MiB)",
}
_MEASURED_WITH = ("image_size", "batch_size", "jax", "device", "num_devices", "cpus", "machine")


def write_all(experiment: read_grid.Experiment) -> list[TableFile]:
    """Writes `DIR/tables/*_table.{csv,md,tex}` from the tables that exist, and returns them."""
    made = [make(experiment) for make in (cost, metrics, published, settings, comparison, factors)]
    found = [table for table in made if table is not None]
    for table in found:
        write(experiment.folder / "tables", table)
    return found


def metrics(experiment: read_grid.Experiment) -> TableFile | None:
    """Mean ± 1.96 standard errors: a row per class and method, a column per metric, the best of a class in bold.

    A method without a finished run has an empty row. In an ablation, a column per factor marks the methods with it.

    Returns: None without summary.csv.
    Raises: ValueError if summary.csv has a mean twice.
    """
    summary = experiment.summary
    if summary is None:
        return None
    keys = ["data", "class", "method", "metric"]
    twice = summary[summary.duplicated(keys)]
    if len(twice):
        raise ValueError(
            f"{experiment.folder / 'tables' / 'summary.csv'} has {tuple(twice.iloc[0][keys])} twice; "
            f"{read_grid.REMEDY}."
        )
    found = {tuple(row[key] for key in keys): row for _, row in summary.iterrows()}
    shown = [name for name in overlap.METRICS if name in set(summary["metric"])]
    shown += [name for name in dict.fromkeys(summary["metric"]) if name not in shown]
    place = _Place.of(experiment, summary)
    rows, numbers = [], []
    for data, kind in place.groups:
        texts = {
            name: [_cell(found.get((data, kind, method, name))) for method in experiment.methods] for name in shown
        }
        strong = {name: _best(cells) for name, cells in texts.items()}
        for index, method in enumerate(experiment.methods):
            part = summary[(summary["data"] == data) & (summary["class"] == kind) & (summary["method"] == method)]
            first = part[part["metric"] == shown[0]]
            cells = [*place.cells(data, kind, method), *_counts(first, part)]
            for name in shown:
                cell = dataclasses.replace(texts[name][index], strong=index in strong[name])
                row = found.get((data, kind, method, name))
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
      experiment: with comparison.csv.
      only: the only metric to show; None: all.
    Returns: None without comparison.csv or without rows of that metric.
    """
    found = experiment.comparison
    found = found if found is None or only is None else found[found["metric"] == only]
    if found is None or found.empty:
        return None
    place = _Place.of(experiment, found)
    has_effect, has_seeds, has_power = (
        name in found and found[name].notna().any() for name in ("effect", "seed_p", "detectable")
    )
    columns = [*place.columns, *([] if only else [tables.Column("Metric")])]
    columns += [tables.Column("n", True, "slices on which both methods have a value"), *_patient_column(found)]
    columns += [tables.Column("Difference", True, "method minus reference"), tables.Column("95 % interval", True)]
    columns += [tables.Column("Detectable", True, "found four times in five")] if has_power else []
    columns += _folds_column(found)
    columns += [tables.Column("Effect size", True)] if has_effect else []
    columns += [tables.Column("p", True), tables.Column("p (Holm)", True)]
    columns += [tables.Column("p over seeds", True)] if has_seeds else []
    order = {name: number for number, name in enumerate(place.order)}
    keys = zip(found["data"], found["class"], found["method"], strict=True)
    ordered = found.assign(place=[order[key] for key in keys])
    rows = []
    for _, row in ordered.sort_values("place", kind="stable").iterrows():
        cells = place.cells(row["data"], row["class"], row["method"])
        cells += [] if only else [tables.text_cell(_title(row["metric"]))]
        cells += [tables.number_cell(row[name]) for name in ("n", "patients") if name in found]
        cells += [_difference(row["difference"]), _interval((row["low"], row["high"]))]
        cells += [tables.number_cell(row["detectable"])] if has_power else []
        cells += [_folds_cell(row["folds_better"], row["folds"])] if _folds_column(found) else []
        cells += [tables.number_cell(row["effect"])] if has_effect else []
        cells += [tables.p_cell(row["p"]), _adjusted(row["p_adj"])]
        cells += [tables.p_cell(row["seed_p"])] if has_seeds else []
        rows.append(cells)
    references = " and ".join(experiment.methods.get(name, name) for name in dict.fromkeys(found["reference"]))
    what = ", ".join(filter(None, [_title(only) if only else "", place.alone]))
    caption = f"Paired differences{f' ({what})' if what else ''}: method minus {references}."
    foot = (
        "Methods are compared on the same slices. Interval: 95 % bootstrap over patients if they are known, else over "
        f"slices. p: Wilcoxon signed-rank test; p (Holm): adjusted, bold below {ALPHA}."
    )
    foot += (
        " Detectable: the smallest true difference that a comparison of this size finds with a probability of 80 %."
        if has_power
        else ""
    )
    foot += " Folds: in how many the mean is higher." if _folds_column(found) else ""
    foot += " p over seeds: tests the differences between training seeds." if has_seeds else ""
    return TableFile("comparison_table", tables.Table(caption, columns, rows, foot), found.reset_index(drop=True))


def factors(experiment: read_grid.Experiment, *, only: str | None = None) -> TableFile | None:
    """Main effect of each factor of an ablation: mean difference with minus without it.

    Args:
      experiment: with factors.csv.
      only: the only metric to show; None: all.
    Returns: None without factors.csv or without rows of that metric.
    """
    found = experiment.effects
    found = found if found is None or only is None else found[found["metric"] == only].reset_index(drop=True)
    if found is None or found.empty:
        return None
    shown = _titled(experiment.data_titles(found)).assign(
        interval=list(zip(found["low"], found["high"], strict=True)),
        range=list(zip(found["smallest"], found["largest"], strict=True)),
    )
    if _folds_column(found):
        shown = shown.assign(of_folds=list(zip(found["folds_better"], found["folds"], strict=True)))
    columns = {} if found["data"].nunique() == 1 else {"data": ("Data", tables.text_cell)}
    columns |= {
        "factor": ("Factor", tables.text_cell),
        "class": ("Class", tables.text_cell),
        "metric": ("Metric", tables.text_cell),
        "pairs": ("Pairs", tables.number_cell),
        "n": ("n", tables.number_cell, "slices"),
        "difference": ("Main effect", _difference, "with minus without"),
        "interval": ("95 % interval", _interval),
        "of_folds": ("Folds", lambda pair: _folds_cell(*pair), "with a higher mean"),
        "p": ("p", tables.p_cell),
        "p_adj": ("p (Holm)", _adjusted),
        "range": ("Single pairs", _range, "smallest and largest difference of a pair"),
    }
    every = 2 ** (len(next(iter(experiment.factors.values()))) - 1)
    missing = "" if (found["pairs"] == every).all() else f" A full design has {every} pairs; some are missing."
    foot = (
        "Mean difference, with the factor minus without, over the pairs of methods that differ only in it; 95 % "
        "bootstrap interval over patients if they are known, else over slices, not adjusted; p: Wilcoxon signed-rank "
        f"test; p (Holm): adjusted over all rows, bold below {ALPHA}. Single pairs: if they differ much, the effect of "
        f"the factor depends on another one, and the mean says little.{missing}"
    )
    return TableFile(
        "factors_table", tables.from_frame(shown, "Main effects of the factors.", columns, foot=foot), found
    )


def settings(experiment: read_grid.Experiment) -> TableFile | None:
    """Settings of each method: mean Dice on the folds, and in how many folds a setting was chosen; None without any."""
    found = experiment.settings
    if found is None:
        return None
    groups = found.groupby(["data", "method", "setting"], sort=False)
    shown = groups.agg(score=("score", "mean"), chosen=("chosen", "sum"), folds=("chosen", "size")).reset_index()
    shown["method"] = shown["method"].map(experiment.methods)
    columns = {} if shown["data"].nunique() == 1 else {"data": ("Data", tables.text_cell)}
    columns |= {
        "method": ("Method", tables.text_cell),
        "setting": ("Setting", tables.text_cell),
        "score": ("Dice", tables.number_cell, "mean over folds and classes"),
        "chosen": ("Chosen", tables.number_cell, "in folds"),
        "folds": ("Folds", tables.number_cell),
    }
    foot = "In each fold, a method has the setting with the highest Dice on the other folds; its results are those."
    made = tables.from_frame(experiment.data_titles(shown), "Settings of the methods.", columns, foot=foot)
    return TableFile("settings_table", made, shown)


def published(experiment: read_grid.Experiment) -> TableFile | None:
    """Published results on the official test part; None unless the runs were tested on it."""
    found = experiment.published
    if found is None:
        return None
    columns = {
        "method": ("Method", tables.text_cell),
        "class": ("Class", tables.text_cell),
        "metric": ("Metric", tables.text_cell),
        "mean": ("Mean", tables.number_cell),
        "n": ("n", tables.number_cell, "slices"),
        "source": ("Source", tables.text_cell),
    }
    caption = "Published results on the official test part, on which these runs were tested, too."
    return TableFile("published_table", tables.from_frame(_titled(found), caption, columns), found)


def cost(experiment: read_grid.Experiment) -> TableFile | None:
    """Cost of each network from tables/cost.csv; None without it. What all were measured with is below the table."""
    found = experiment.cost
    if found is None:
        return None
    shown = found.dropna(axis=1, how="all")
    shown = shown.assign(network=shown["network"].map(lambda name: experiment.methods.get(name, name)))
    titles = {name: _COST.get(name) or name.replace("_", " ").capitalize() for name in shown}
    same = [name for name in _MEASURED_WITH if name in shown and shown[name].nunique() == 1]
    foot = "; ".join(f"{titles[name]}: {shown[name].iloc[0]}" for name in same)
    columns = {name: (title, tables.formatter(shown[name])) for name, title in titles.items() if name not in same}
    made = tables.from_frame(shown, "Cost of each network.", columns, foot=f"{foot}." if foot else "")
    return TableFile("cost_table", made, found)


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: table[name].map(_title) for name in ("class", "metric")})


@dataclasses.dataclass(frozen=True)
class _Place:
    """The key columns of a row: data, class, method and its factors; what is the same in all rows has no column."""

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
        """The title of the class if there is only one."""
        return "" if self.several_classes else _title(self.groups[0][1]).lower()

    @property
    def columns(self) -> list[tables.Column]:
        columns = [tables.Column("Data")] if self.several_data else []
        columns += [tables.Column("Class")] if self.several_classes else []
        return [*columns, tables.Column("Method"), *(tables.Column(_title(name)) for name in self._factors)]

    @property
    def _factors(self) -> list[str]:
        return list(dict.fromkeys(name for factors in self.experiment.factors.values() for name in factors))

    def cells(self, data: str, kind: str, method: str) -> list[tables.Cell]:
        cells = [tables.text_cell(self.experiment.data.get(data, data))] if self.several_data else []
        cells += [tables.text_cell(_title(kind))] if self.several_classes else []
        marks = [MARKS.get(self.experiment.factors.get(method, {}).get(name), "") for name in self._factors]
        return [*cells, tables.text_cell(self.experiment.methods[method]), *(tables.Cell(mark, mark) for mark in marks)]

    def numbers(self, data: str, kind: str, method: str) -> dict:
        keys = {"data": data, "class": kind, "method": method, "title": self.experiment.methods[method]}
        return keys | {name: self.experiment.factors.get(method, {}).get(name) for name in self._factors}


def _wide(part: pd.DataFrame) -> dict[str, float]:
    """The metrics of a class and method in one row: `dice`, `dice_error`, `dice_n`, ..."""
    wide = {}
    for _, row in part.iterrows():
        wide |= {row["metric"]: row["mean"], f"{row['metric']}_error": row["error"], f"{row['metric']}_n": row["n"]}
    return wide


def _cell(row: Mapping[str, Any] | None) -> tables.Cell:
    if row is None:
        return tables.Cell(tables.MISSING)
    return tables.Cell(tables.mean_error(row["mean"], row["error"]), tables.number_cell(row["mean"]).sort)


def _best(cells: Sequence[tables.Cell]) -> set[int]:
    """Positions of the cells with the highest mean as printed; none if fewer than two cells have a mean."""
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


def _folds_column(table: pd.DataFrame) -> list[tables.Column]:
    """The column of folds, if there are several."""
    several = "folds" in table and (table["folds"] > 1).any()
    return [tables.Column("Folds", True, "with a higher mean")] if several else []


def _folds_cell(better: int, folds: int) -> tables.Cell:
    return tables.Cell(f"{better} of {folds}", better / folds if folds else None)


def _caption(experiment: read_grid.Experiment, place: _Place) -> str:
    of = f" of the {place.alone}" if place.alone and place.alone != "overall" else ""
    return f"Metrics{of} by method: mean ± 1.96 standard errors over test slices."


def _metrics_foot(experiment: read_grid.Experiment, place: _Place, summary: pd.DataFrame) -> str:
    foot = "Bold: the highest mean, significant or not (see the comparison)."
    if place.several_classes:
        foot += " Overall: the mean of background, GGO and consolidation."
    if "excluded" in summary and (summary["excluded"].fillna(0) > 0).any():
        foot += (
            " Excluded: slices on which a metric is undefined, because a class is absent; means with different n are "
            "over different slices."
        )
    if experiment.factors:
        foot += f" {MARKS[True]} with, {MARKS[False]} without."
    absent = [title for name, title in experiment.methods.items() if name not in set(summary["method"])]
    return foot + (f" No finished run: {', '.join(absent)}." if absent else "")


def _difference(value: float) -> tables.Cell:
    return tables.Cell(tables.signed(value), None if pd.isna(value) else float(value))


def _adjusted(p: float) -> tables.Cell:
    return dataclasses.replace(tables.p_cell(p), strong=bool(p < ALPHA))


def _interval(bounds: tuple[float, float], between: str = ", ") -> tables.Cell:
    if any(map(pd.isna, bounds)):
        return tables.Cell(tables.MISSING)
    return tables.Cell(between.join(map(tables.signed, bounds)), float(bounds[0]))


def _range(bounds: tuple[float, float]) -> tables.Cell:
    return _interval(bounds, " to ")


def _title(name: str) -> str:
    name = str(name)
    return TITLES.get(name.lower()) or re.sub("_", " ", name[:1].upper() + name[1:])

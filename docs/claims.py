"""The paper's claims about accuracy beside our grids: the block `claims` of docs/results.md.

`docs/comparisons.csv` keeps the comparisons of the grids on that page (Dice), so that the block can be written without
their folders. The paper's figures are in its supplement; its text says which method is better, not by how much.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import pandas as pd

from configs.experiments import pretraining
from ssinfnet_jax.report.experiment import read_grid
from ssinfnet_jax.report.kit import tables

COLUMNS = [
    "experiment", "data", "class", "method", "reference", "n", "difference", "low", "high", "detectable", "folds",
    "folds_better", "p_adj", "seed_p",
]  # fmt: skip
ALPHA = 0.05
WANTED = 0.02  # a difference of Dice that would matter


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the comparison that tests it.

    Attributes:
      place: the paper's table or figure.
      text: what the paper says.
      experiment: the name of our grid.
      method, reference: of the comparison; in an ablation a factor, and "without".
      sign: of the difference that is claimed; 0 for none.
      kind: the class.
      data: of the comparison.
    """

    place: str
    text: str
    experiment: str
    method: str
    reference: str
    sign: int
    kind: str = "overall"
    data: str = "default"


_WORSE = "Multi {} is worse than multi SSInfNet"
_PART = "{} improves the multi network"
_ALL = pretraining.ALL_LABELS
CLAIMS = (
    Claim("S2, 3B", "Single SSInfNet is no better than SInfNet", "pretraining:folds", "inpainted_1600", "scratch",
          0, "lesion", _ALL),
    Claim("3B", "Single U-Net is worse than SSInfNet", "comparison_single:folds", "unet", "ssinfnet", -1,
          "lesion", _ALL),
    Claim("S3, 3D", _WORSE.format("SInfNet"), "comparison_multi:folds", "sinfnet", "ssinfnet", -1, data=_ALL),
    Claim("S4", _WORSE.format("U-Net"), "comparison_multi:folds", "unet", "ssinfnet", -1, data=_ALL),
    Claim("S4", _WORSE.format("FCN8"), "comparison_multi:folds", "fcn8", "ssinfnet", -1, data=_ALL),
    Claim("S7", "All three parts improve the multi network", "ablation:folds", "inpainting_focal_lookahead", "none",
          1),
    Claim("S7", _PART.format("Inpainting"), "ablation:folds", "inpainting", "without", 1),
    Claim("S7", _PART.format("Focal loss"), "ablation:folds", "focal", "without", 1),
    Claim("S7", _PART.format("Lookahead"), "ablation:folds", "lookahead", "without", 1),
)  # fmt: skip


def rows_of(experiment: read_grid.Experiment) -> pd.DataFrame:
    """The rows of an experiment for comparisons.csv: its comparisons, and its factors against "without"."""
    found = [experiment.comparison]
    if experiment.effects is not None:
        found.append(experiment.effects.rename(columns={"factor": "method"}).assign(reference="without"))
    table = pd.concat([each for each in found if each is not None] or [pd.DataFrame(columns=[*COLUMNS, "metric"])])
    table = table[table["metric"] == "dice"].assign(experiment=experiment.name)
    return table.reindex(columns=COLUMNS)


def kept(path: pathlib.Path, experiments: Sequence[read_grid.Experiment]) -> pd.DataFrame:
    """The table at `path`, if there is one, with the rows of these experiments in place of their old ones."""
    old = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)
    old = old[~old["experiment"].isin([experiment.name for experiment in experiments])]
    tables_of = [old, *(rows_of(experiment) for experiment in experiments)]
    return pd.concat([table for table in tables_of if not table.empty] or [old], ignore_index=True)


def block(comparisons: pd.DataFrame) -> str:
    """The claims as a table in Markdown."""
    lines = [
        "| The paper | Grid | Difference of Dice (95 % interval) | Folds | p (Holm) | p over seeds | "
        f"What it shows | Slices for {WANTED} |",
        "|---|---|---:|---:|---:|---:|---|---:|",
    ]
    for claim in CLAIMS:
        keys = {"experiment": claim.experiment, "data": claim.data, "class": claim.kind, "method": claim.method,
                "reference": claim.reference}  # fmt: skip
        found = comparisons[(comparisons[list(keys)] == pd.Series(keys)).all(axis=1)]
        cells = _cells(found.iloc[0], claim.sign) if len(found) else ["", "", "", "", "not run", ""]
        lines.append(f"| {claim.text} ({claim.place}) | `{claim.experiment}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(row: pd.Series, sign: int) -> list[str]:
    folds = f"{row['folds_better']:.0f} of {row['folds']:.0f}" if row["folds"] > 1 else ""
    interval = f"{tables.signed(row['low'])}, {tables.signed(row['high'])}"
    p, seed_p = (tables.p_cell(row[name]).text for name in ("p_adj", "seed_p"))
    known = not row[["detectable", "seed_p"]].isna().any()  # with one seed, the noise of training is not in it
    needed = f"{math.ceil(row['n'] * (row['detectable'] / WANTED) ** 2)}" if known else "–"
    return [f"{tables.signed(row['difference'])} ({interval})", folds, p, seed_p, _verdict(row, sign), needed]


def _verdict(row: pd.Series, sign: int) -> str:
    """What a comparison says of a claimed sign. By the rule of `evaluation.comparison`, both p values count."""
    if not row["p_adj"] < ALPHA:
        seen = "" if pd.isna(row["detectable"]) else f"; {row['detectable']:.3f} is found four times in five"
        alone = " (without the noise of training)" if seen and pd.isna(row["seed_p"]) else ""
        return f"no difference seen{seen}{alone}"
    which = "higher" if row["difference"] > 0 else "lower"
    if pd.isna(row["seed_p"]):
        return f"these networks are {which}; one seed cannot tell whether the method is"
    if not row["seed_p"] < ALPHA:
        return f"these networks are {which}; the method's seeds do not differ"
    if not sign:
        return "a difference is shown"
    return "shown" if sign * row["difference"] > 0 else "the opposite is shown"

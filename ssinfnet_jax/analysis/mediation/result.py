"""Everything that analyse() finds, written to a folder and read again."""

import dataclasses
import json
import math
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis.mediation import latex_tables
from ssinfnet_jax.analysis.mediation.several.multiple import Multiple

RULES = {"indirect": "is_mediator", "paper": "is_mediator_paper"}  # rule -> column of univariate()
CAVEAT = (
    "Exposure, phenotype and severity were observed at one time. The models describe associations that agree "
    "with mediation; they do not show that it takes place: severity may shape the image, another cause may "
    "shape both, and phenotypes of predicted masks carry the errors of the segmentation. Where the outcome is "
    "binary, its model is linear as in the paper, so that effects are differences of probability and standard "
    "errors are approximate."
)
_NATURAL = "The natural effects beside them come from a regression for binary outcomes."


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Everything analyse() found.

    Attributes:
      univariate: all pairs, see univariate().
      filter_log: what was left out and why, see correlation_filter(): covariates that depend on others, what the
        filter removed, what multiple() left out.
      selected: exposure -> mediators that are significant for it and survive the filter; empty lists are
        kept.
      multiple: the path model of the selected mediators, or None.
      reason: "" or why there is no path model.
      options: how it was made, for the record.
      intervals: bootstrap intervals of all pairs, see bootstrap(); None without draws.
      multiple_intervals: the same for the path model, see bootstrap_multiple().
      natural: effects on a binary outcome, see natural_effects(); None where the outcome is not 0 and 1.
      no_natural: "" or why there are no natural effects, and no E-values with them.
      sensitivity: see sensitivity().
      missing: see missing_values(); None where nothing is missing.
      imputed: see imputed_effects(); None where it was not asked for.
      ordinal, moderated: see ordinal_effects(), moderated_effects(); None where they were not asked for.
      joint, screening: see joint_effects(), screen(); None where they were not asked for.
    """

    univariate: pd.DataFrame
    filter_log: pd.DataFrame
    selected: dict[str, list[str]]
    multiple: Multiple | None
    reason: str
    options: dict[str, Any]
    intervals: pd.DataFrame | None
    multiple_intervals: pd.DataFrame | None
    natural: pd.DataFrame | None
    no_natural: str
    sensitivity: pd.DataFrame
    joint: pd.DataFrame | None = None
    screening: pd.DataFrame | None = None
    missing: pd.DataFrame | None = None
    imputed: pd.DataFrame | None = None
    ordinal: pd.DataFrame | None = None
    moderated: pd.DataFrame | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by the names of their files."""
        of_model = ("estimates", "total_effects")
        tables = {name: getattr(self, name) for name in _TABLES}
        tables |= {f"multiple_{name}": getattr(self.multiple, name, None) for name in of_model}
        return {name: table for name, table in tables.items() if table is not None}

    def write(self, out_dir: str | os.PathLike) -> list[pathlib.Path]:
        """Writes tables as CSV and LaTeX and a summary as JSON; returns their paths.

        Tables with adjusted p values state the family of tests: in the CSV's column `family`, below the LaTeX table.
        Tables that an earlier analysis wrote to the folder, and this one does not have, are removed. The summary is
        written last.
        """
        out_dir = pathlib.Path(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        fit, verdict = (self.multiple.fit, self.multiple.verdict.text) if self.multiple else (None, "")
        texts = {}
        for name, table in self.tables().items():
            family = table.attrs.get("family")
            texts[f"{name}.csv"] = (table.assign(family=family) if family else table).to_csv(index=False)
            texts[f"{name}.tex"] = latex_tables.write(name, table, fit, verdict)
        texts |= {"multiple_fit.json": _json(fit)} if fit else {}
        texts |= {"summary.json": _json(self.summary())}
        for name in _FILES:
            if name not in texts:
                (out_dir / name).unlink(missing_ok=True)
        for name, text in texts.items():
            (out_dir / name).write_text(text)
        return [out_dir / name for name in texts]

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Analysis":
        """The analysis that write() wrote to a folder.

        Raises: FileNotFoundError for a file that is missing; ValueError, naming the file, for one that is not what
          write() writes.
        """
        folder = pathlib.Path(folder)
        summary = _read_summary(folder / "summary.json")
        tables = {name: _read_table(folder / f"{name}.csv") for name in (*_TABLES, *_OF_MODEL)}
        for name in ("univariate", "filter_log", "sensitivity", *(_OF_MODEL if summary["fit"] else ())):
            if tables[name] is None:
                raise FileNotFoundError(f"{folder / f'{name}.csv'} is missing; run the analysis again.")
        model, reason = None, summary["no_path_model_because"]
        if described := summary.get("path_model"):
            num_removed = described.pop("num_removed")
            log = tables["filter_log"]
            model = Multiple(
                estimates=tables["multiple_estimates"],
                fit=_with_nan(_read_json(folder / "multiple_fit.json")),
                total_effects=tables["multiple_total_effects"],
                num_dropped=summary["num_dropped"],
                removed=log.iloc[len(log) - num_removed :].reset_index(drop=True),
                **described,
            )
        elif summary["fit"]:
            reason = f"{folder / 'summary.json'} comes from an earlier version, which did not describe the model"
        return cls(
            selected=summary["selected"],
            multiple=model,
            reason=reason,
            options=summary["options"],
            no_natural=summary["no_natural_effects_because"],
            **{name: tables[name] for name in _TABLES},
        )

    @property
    def significant(self) -> pd.Series:
        """bool of each pair of `univariate`: whether it is a mediator by the rule of the analysis."""
        return self.univariate[RULES[self.options["rule"]]]

    def caveat(self) -> str:
        """CAVEAT, and the source of the natural effects or why there are none."""
        return f"{CAVEAT} {self.no_natural or _NATURAL}"

    def summary(self) -> dict[str, Any]:
        """The result in plain values: options, family of tests, selected mediators, fit and its verdict, caveat."""
        return {
            "options": self.options,
            "family": self.univariate.attrs["family"],
            "num_significant": int(self.significant.sum()),
            "selected": self.selected,
            "fit": self.multiple.fit if self.multiple else None,
            "fit_verdict": self.multiple.verdict.text if self.multiple else None,
            "num_dropped": self.multiple.num_dropped if self.multiple else None,
            "path_model": self.multiple.description() if self.multiple else None,
            "no_path_model_because": self.reason,
            "no_natural_effects_because": self.no_natural,
            "caveat": self.caveat(),
        }


_TABLES = (
    "univariate",
    "intervals",
    "natural",
    "ordinal",
    "moderated",
    "sensitivity",
    "filter_log",
    "multiple_intervals",
    "joint",
    "screening",
    "missing",
    "imputed",
)
_OF_MODEL = ("multiple_estimates", "multiple_total_effects")
_FILES = (*(f"{name}.{ending}" for name in (*_TABLES, *_OF_MODEL) for ending in ("csv", "tex")), "multiple_fit.json")
_NEEDED_OPTIONS = ("rule", "alpha", "threshold", "link")  # to show an analysis
# Columns whose cells are text, whatever they look like.
_TEXT = (
    "exposure",
    "mediator",
    "mediators",
    "moderator",
    "effect",
    "at",
    "level",
    "event",
    "column",
    "role",
    "flag",
    "note",
    "lhs",
    "op",
    "rhs",
    "label",
    "removed",
    "kept_instead",
    "why",
    "family",
)


def _read_table(path: pathlib.Path) -> pd.DataFrame | None:
    """A table of write(), equal by value to what was written; None where there is no such file."""
    if not path.is_file():
        return None
    header = pd.read_csv(path, nrows=0).columns
    # A name such as NA is no missing value.
    missing = {name: [""] for name in header if name not in _TEXT}
    table = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=missing)
    if "family" in table:
        table.attrs["family"] = table.pop("family").iloc[0]
    return table


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it and run the analysis again.") from error


def _read_summary(path: pathlib.Path) -> dict[str, Any]:
    summary = _read_json(path)
    needed = ("options", "selected", "fit", "num_dropped", "no_path_model_because", "no_natural_effects_because")
    missing = [key for key in needed if key not in summary]
    missing += [f"options.{key}" for key in _NEEDED_OPTIONS if key not in summary.get("options", {})]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: an earlier version wrote it. Run the analysis again.")
    return summary


def _json(values: dict[str, Any]) -> str:
    return json.dumps(_no_nan(values), indent=2, allow_nan=False) + "\n"


def _with_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: np.nan if value is None else value for key, value in values.items()}


def _no_nan(value):
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _no_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value

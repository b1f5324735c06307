"""Mediation analysis: one stage of `launch.pipeline`, with the same flags; or of a table, without any run.

python -m launch.mediate --cohort=table.csv --exposures=age,gender,underlying --outcome=severity \\
    --mediators='^(ggo|lesion)_' --out=DIR

writes the tables as CSV and LaTeX, summary.json, and figures as PNG and SVG to DIR. The table has one row per
patient; severity is 0 and 1, or the names of the levels. What an earlier call wrote to DIR is replaced, or removed
where this one has no such table or figure.

Flags by what they are for (docs/analysis.md says when to use which):
  table:                cohort, out, missing_codes
  columns:              exposures, mediators, outcome, covariates; C(scanner) is a column of categories
  one mediator:         rule, alpha, adjust, family, link, interaction
  missing values:       missing, imputations, imputation_cycles
  hospitals, scanners:  cluster, weights, robust
  several mediators:    max_correlation, prefer, paths, residual_covariances
  many mediators:       sets, screening, fdr
  bootstrap, figures:   bootstrap_draws, seed, forest_interval
"""

import pathlib

from absl import flags

from launch import stages
from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.intervals import METHODS
from ssinfnet_jax.analysis.mediation.several import multiple
from ssinfnet_jax.config import Mediation, choices, read
from ssinfnet_jax.report.mediation import table_analysis

_COHORT = flags.DEFINE_string(
    "cohort", None, "CSV or XLSX file, one row per patient; takes the place of config and workdir."
)
_MISSING_CODES = flags.DEFINE_list(
    "missing_codes",
    [],
    "What means missing beside empty cells and words such as NA: -9999 in any column, bmi=-9 in one; none: no other "
    "number is a code; with --cohort.",
)
_INTERVAL = flags.DEFINE_enum(
    "forest_interval", "delta", ["delta", *METHODS], "Intervals of the forest plots; with --cohort."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write to; with --cohort.")
_OUTCOME = flags.DEFINE_string("outcome", "severity", "Column of 0 and 1, or of severity levels; with --cohort.")
# What config.mediation has, under the same names.
_OPTIONS = {
    "exposures": flags.DEFINE_list("exposures", ["age", "gender", "underlying"], "Columns; with --cohort."),
    "mediators": flags.DEFINE_string("mediators", None, "Regular expression of column names; with --cohort."),
    "covariates": flags.DEFINE_list("covariates", [], "Columns held fixed in every model; with --cohort."),
    "rule": flags.DEFINE_enum(
        "rule", "indirect", choices(Mediation, "rule"),
        "What makes a pair significant: its indirect effect, or the paper's three regressions; with --cohort.",
    ),
    "alpha": flags.DEFINE_float("alpha", 0.05, "Level of the tests of pairs; with --cohort."),
    "adjust": flags.DEFINE_enum(
        "adjust", "fdr_bh", choices(Mediation, "adjust"), "How p values of pairs are adjusted; with --cohort."
    ),
    "family": flags.DEFINE_enum(
        "family", "all", choices(Mediation, "family"),
        "p values are adjusted over all pairs, or over those of each exposure; with --cohort.",
    ),
    "max_correlation": flags.DEFINE_float(
        "max_correlation", 0.8, "Of two mediators with |r| above it, one is left out; with --cohort."
    ),
    "prefer": flags.DEFINE_list(
        "prefer", list(mediation.PREFER), "Features or columns that stay where two correlate; with --cohort."
    ),
    "paths": flags.DEFINE_enum(
        "paths", "selected", choices(Mediation, "paths"),
        "Path model: an exposure acts on the mediators selected for it, or on all that were selected; with --cohort.",
    ),
    "residual_covariances": flags.DEFINE_bool(
        "residual_covariances", True,
        "Residuals of mediators may correlate in the path model; the paper's may not; with --cohort.",
    ),
    "link": flags.DEFINE_enum(
        "link", "logit", choices(Mediation, "link"), "Of the regression behind the natural effects; with --cohort."
    ),
    "bootstrap_draws": flags.DEFINE_integer(
        "bootstrap_draws", 5000, "Resamples for the intervals; 0: none; with --cohort."
    ),
    "seed": flags.DEFINE_integer("seed", 0, "Of the resamples; with --cohort."),
}  # fmt: skip
# What a run has no columns for, or does not ask for.
_MORE = {
    "interaction": flags.DEFINE_bool(
        "interaction", False, "Natural effects in which the exposure may change what the mediator does; with --cohort."
    ),
    "cluster": flags.DEFINE_string(
        "cluster", "", "Column of hospitals or scanners: errors and resamples are by these; with --cohort."
    ),
    "weights": flags.DEFINE_string(
        "weights", "", "Column of weights of patients, above 0; errors are robust; with --cohort."
    ),
    "robust": flags.DEFINE_bool(
        "robust", False, "Standard errors that hold where variances differ between patients; with --cohort."
    ),
    "sets": flags.DEFINE_list(
        "sets", ["all", "region", "class"],
        "Sets of mediators whose joint effects are wanted: all, region, class, name=expression; empty: none; with "
        "--cohort.",
    ),
    "screening": flags.DEFINE_bool(
        "screening", False, "Choose mediators among all of them in one model, given all others; with --cohort."
    ),
    "missing": flags.DEFINE_enum(
        "missing", "listwise", list(multiple.MISSING),
        "Path model: leave out patients with a missing value, or use what they have (full-information maximum "
        "likelihood); with --cohort.",
    ),
    "imputations": flags.DEFINE_integer(
        "imputations", 0, "Times that missing values are filled in for imputed.csv, such as 20; 0: none; with --cohort."
    ),
    "imputation_cycles": flags.DEFINE_integer(
        "imputation_cycles", 10, "Rounds of the chained equations of each imputation; with --cohort."
    ),
    "fdr": flags.DEFINE_float("fdr", 0.05, "False discovery rate of the screening; with --cohort."),
}  # fmt: skip


def analyse_table() -> None:
    """Analyses the table of the flags, and writes tables and figures.

    Raises: ValueError for a table that cannot be analysed, see table_analysis.run().
    """
    chosen = {name: flag.value for name, flag in _OPTIONS.items()}
    if not chosen["mediators"] or not _OUT.value:
        raise ValueError("With --cohort, give --mediators (a regular expression of column names) and --out (a folder).")
    read(Mediation, chosen, "--")
    if _INTERVAL.value != "delta" and not chosen["bootstrap_draws"]:
        raise ValueError(
            f"--forest_interval={_INTERVAL.value} needs resamples; set --bootstrap_draws above 0, as to 5000."
        )
    more = {name: flag.value for name, flag in _MORE.items()}
    found = table_analysis.run(
        _COHORT.value,
        pathlib.Path(_OUT.value),
        mediation.Options(**chosen, **more, outcome=_OUTCOME.value),
        missing_codes=_MISSING_CODES.value,
        interval=_INTERVAL.value,
    )
    print(*table_analysis.words(found), f"Written to {_OUT.value}. {found.caveat()}", sep="\n")


if __name__ == "__main__":
    stages.main("mediate", instead=("cohort", analyse_table))

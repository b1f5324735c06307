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
  severity in levels:   levels
  moderated mediation:  moderator, moderated
  missing values:       missing, imputations, imputation_cycles
  hospitals, scanners:  cluster, weights, robust
  several mediators:    max_correlation, prefer, paths, residual_covariances
  many mediators:       sets, screening, fdr
  bootstrap, figures:   bootstrap_draws, seed, forest_interval
"""

import pathlib
import typing

from absl import flags

from launch import stages
from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.analysis.mediation.estimation.intervals import METHODS
from ssinfnet_jax.config import Mediation, choices, read, types_of
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
_COLUMNS = {
    "outcome": flags.DEFINE_string("outcome", "severity", "Column of 0 and 1, or of severity levels; with --cohort."),
    "cluster": flags.DEFINE_string(
        "cluster", "", "Column of hospitals or scanners: errors and resamples are by these; with --cohort."
    ),
    "weights": flags.DEFINE_string(
        "weights", "", "Column of weights of patients, above 0; errors are robust; with --cohort."
    ),
}
_HELP = {  # keys of config.mediation
    "exposures": "Columns.",
    "mediators": "Regular expression of column names.",
    "covariates": "Columns adjusted for in every model.",
    "rule": "What makes a pair significant: its indirect effect, or the paper's three regressions.",
    "alpha": "Level of the tests of pairs.",
    "adjust": "How p values of pairs are adjusted.",
    "family": "p values are adjusted over all pairs, or over those of each exposure.",
    "max_correlation": "Of two mediators with |r| above it, one is left out.",
    "prefer": "Features or columns that stay where two correlate.",
    "paths": "Path model: an exposure acts on the mediators selected for it, or on all that were selected.",
    "residual_covariances": "Residuals of mediators may correlate in the path model; the paper's may not.",
    "link": "Of the regression behind the natural effects.",
    "interaction": "Natural effects in which the exposure may change what the mediator does.",
    "robust": "Standard errors that allow for unequal variances.",
    "sets": "Sets of mediators whose joint effects are estimated: all, region, class, name=expression; empty: none.",
    "screening": "Select mediators in one model of all of them.",
    "fdr": "False discovery rate of the screening.",
    "levels": "Levels of the outcome, the lowest first, for proportional odds; 'Mild|Regular' joins two.",
    "moderator": "Column that may change the paths of the indirect effect, such as gender or C(scanner).",
    "moderated": "Paths that the moderator may change: exposure to mediator (first), mediator to outcome (second), "
    "both, or these and the direct effect (all).",
    "missing": "Path model: leave out patients with a missing value, or use what they have (full-information maximum "
    "likelihood).",
    "imputations": "How often missing values are filled in for imputed.csv, such as 20; 0: never.",
    "imputation_cycles": "Rounds of the chained equations of each imputation.",
    "bootstrap_draws": "Resamples for the intervals; 0: none.",
    "seed": "Of the resamples and imputations.",
}
_DEFAULTS = {  # where they are not those of a config
    "exposures": ["age", "gender", "underlying"],
    "mediators": None,
    "sets": ["all", "region", "class"],
    "bootstrap_draws": 5000,
}


def _define(name: str) -> flags.FlagHolder:
    """The flag of a key of config.mediation, of the type that the key has."""
    kind, default = types_of(Mediation)[name], _DEFAULTS.get(name, getattr(Mediation, name, None))
    text = f"{_HELP[name].rstrip('.')}; with --cohort."
    if typing.get_origin(kind) is typing.Literal:
        return flags.DEFINE_enum(name, default, choices(Mediation, name), text)
    if typing.get_origin(kind) is tuple:
        return flags.DEFINE_list(name, list(default), text)
    kind = (*typing.get_args(kind), kind)[0]
    define = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    return define[kind](name, default, text)


_OPTIONS = {name: _define(name) for name in _HELP}


def analyse_table() -> None:
    """Analyses the table of the flags, and writes tables and figures.

    Raises: ValueError for a table that cannot be analysed, see table_analysis.run().
    """
    chosen = {name: flag.value for name, flag in _OPTIONS.items()}
    if not chosen["mediators"] or not _OUT.value:
        raise ValueError("With --cohort, give --mediators (a regular expression of column names) and --out (a folder).")
    options = vars(read(Mediation, chosen, "--"))
    if _INTERVAL.value != "delta" and not options["bootstrap_draws"]:
        raise ValueError(
            f"--forest_interval={_INTERVAL.value} needs resamples; set --bootstrap_draws above 0, as to 5000."
        )
    found = table_analysis.run(
        _COHORT.value,
        pathlib.Path(_OUT.value),
        mediation.Options(**options, **{name: flag.value for name, flag in _COLUMNS.items()}),
        missing_codes=_MISSING_CODES.value,
        interval=_INTERVAL.value,
    )
    print(*table_analysis.words(found), f"Written to {_OUT.value}. {found.caveat()}", sep="\n")


if __name__ == "__main__":
    stages.main("mediate", instead=("cohort", analyse_table))

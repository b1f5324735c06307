"""Checks the config of the analysis for mistakes that its types cannot catch."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from ssinfnet_jax.analysis import phenotypes, severity
from ssinfnet_jax.analysis.mediate_cohort import CLINICAL
from ssinfnet_jax.analysis.mediation.outcome import ordinal
from ssinfnet_jax.analysis.mediation.several import joint
from ssinfnet_jax.config import Config, Mediation, plain


def check(config: Config) -> None:
    """Raises ValueError for mistakes in the sections phenotypes and mediation."""
    try:
        settings = phenotypes.make("eight_bit", plain(config.phenotypes.settings))
    except ValueError as error:
        raise ValueError(f"config.phenotypes.settings: {error}") from error
    _check_mediation(config.mediation, phenotypes.names(settings=settings))


def _check_mediation(options: Mediation, phenotype_names: Sequence[str]) -> None:
    moderator = [options.moderator] if options.moderator else []
    roles = {"exposures": options.exposures, "covariates": options.covariates, "moderator": moderator}
    taken = _check_roles(roles, phenotype_names)
    names = [name for name in (*phenotype_names, *CLINICAL) if name not in taken]
    mediators = _check_mediators(options.mediators, names)
    try:
        joint.sets_by_name(mediators, options.sets)
    except ValueError as error:
        raise ValueError(f"config.mediation.sets: {error}") from None
    _check_levels(options.levels)


def _check_levels(levels: Sequence[str]) -> None:
    names = [name for level in levels for name in level.split("|")]
    try:
        severity.binarize(names)
        severity.check_levels(levels)
        if levels:
            ordinal.level_codes(pd.Series(names, name="severity"), levels)
    except ValueError as error:
        raise ValueError(f"config.mediation.levels: {error}") from None


def _check_roles(roles: Mapping[str, Sequence[str]], phenotype_names: Sequence[str]) -> list[str]:
    """Returns the columns of all roles; raises ValueError for unknown and repeated ones."""
    for key, names in roles.items():
        unknown = [name for name in names if name not in CLINICAL and name not in phenotype_names]
        if unknown:
            raise ValueError(
                f"Unknown columns {unknown} in config.mediation.{key}; choose from {', '.join(CLINICAL)}, and "
                f"phenotypes of config.phenotypes.settings, such as {phenotype_names[0]}."
            )
    if not roles["exposures"]:
        raise ValueError(f"config.mediation.exposures is empty; choose from {', '.join(CLINICAL)}.")
    named = [name for names in roles.values() for name in names]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        said = " and ".join(f"config.mediation.{key} {list(names)}" for key, names in roles.items() if names)
        raise ValueError(f"{said} name {twice} twice; a column can have one role, so remove it from one.")
    return named


def _check_mediators(expression: str, names: Sequence[str]) -> list[str]:
    """Returns the names that an expression finds; raises ValueError for one that is none, or finds none."""
    try:
        wanted = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"config.mediation.mediators is not a regular expression: {expression!r} ({error}); for example, '^ggo_' "
            "matches all columns that start with ggo_."
        ) from error
    found = list(filter(wanted.search, names))
    if not found:
        some = ", ".join(names[:: max(1, len(names) // 4)])
        raise ValueError(
            f"config.mediation.mediators {expression!r} matches none of the {len(names)} columns of the phenotypes and "
            f"the clinical table, such as {some}; correct the expression."
        )
    return found

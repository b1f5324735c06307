"""What is wrong in the analysis' sections of a config, before anything is computed."""

import re
from collections.abc import Mapping, Sequence

from ssinfnet_jax.analysis import phenotypes
from ssinfnet_jax.analysis.mediate_cohort import CLINICAL
from ssinfnet_jax.config import Config, Mediation, plain


def check(config: Config) -> None:
    """Raises ValueError for what is wrong in the analysis' sections of a config, before anything is computed."""
    try:
        settings = phenotypes.make("eight_bit", plain(config.phenotypes.settings))
    except ValueError as error:
        raise ValueError(f"config.phenotypes.settings: {error}") from error
    _check_mediation(config.mediation, phenotypes.names(settings=settings))


def _check_mediation(options: Mediation, phenotype_names: Sequence[str]) -> None:
    taken = _check_roles({"exposures": options.exposures, "covariates": options.covariates}, phenotype_names)
    _check_mediators(options.mediators, [name for name in (*phenotype_names, *CLINICAL) if name not in taken])


def _check_roles(roles: Mapping[str, Sequence[str]], phenotype_names: Sequence[str]) -> list[str]:
    """Returns the columns of both roles; raises ValueError for unknown ones and those that are named twice."""
    for key, names in roles.items():
        unknown = [name for name in names if name not in CLINICAL and name not in phenotype_names]
        if unknown:
            raise ValueError(
                f"Unknown columns {unknown} in config.mediation.{key}; choose from {', '.join(CLINICAL)}, and "
                f"phenotypes of config.phenotypes.settings, such as {phenotype_names[0]}."
            )
    if not roles["exposures"]:
        raise ValueError(f"config.mediation.exposures is empty; choose from {', '.join(CLINICAL)}.")
    named = [*roles["exposures"], *roles["covariates"]]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(
            "A column is an exposure or a covariate, and once, but config.mediation.exposures "
            f"{list(roles['exposures'])} and config.mediation.covariates {list(roles['covariates'])} name {twice} "
            "twice; leave one out."
        )
    return named


def _check_mediators(expression: str, names: Sequence[str]) -> None:
    try:
        wanted = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"config.mediation.mediators is not a regular expression: {expression!r} ({error}); '^ggo_', for one, "
            "matches all columns that begin with ggo_."
        ) from error
    if not any(map(wanted.search, names)):
        some = ", ".join(names[:: max(1, len(names) // 4)])
        raise ValueError(
            f"config.mediation.mediators {expression!r} matches none of the {len(names)} columns that "
            f"config.phenotypes and the clinical table give, such as {some}; correct the expression."
        )

"""Checks the options of the analysis, wherever a user gives them, before anything is computed."""

import numbers
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax.analysis.mediation.adjust import FAMILIES, METHODS
from ssinfnet_jax.analysis.mediation.binomial import LOG_CDF
from ssinfnet_jax.analysis.mediation.procedure import PATHS, RULES

CHOICES = {"adjust": METHODS, "family": FAMILIES, "rule": tuple(RULES), "paths": PATHS, "link": tuple(LOG_CDF)}


def check(options: Mapping[str, Any], prefix: str) -> None:
    """Raises ValueError for an option that no analysis can be made with.

    Args:
      options: adjust, family, rule, paths, link, alpha, max_correlation, prefer, residual_covariances, bootstrap_draws,
        seed.
      prefix: what stands before the name of an option where the user gave it: "config.mediation." or "--".
    """
    for key, choices in CHOICES.items():
        if options[key] not in choices:
            raise ValueError(f"Unknown {prefix}{key} {options[key]!r}; choose one of {', '.join(choices)}.")
    for key, rule, holds in (
        ("alpha", "a number in (0, 1), such as 0.05", lambda value: _is_real(value) and 0 < value < 1),
        ("max_correlation", "a number in (0, 1], such as 0.8", lambda value: _is_real(value) and 0 < value <= 1),
        ("bootstrap_draws", "a whole number >= 0; 0 makes no intervals", _is_count),
        ("seed", "a whole number >= 0", _is_count),
        ("residual_covariances", "True or False", lambda value: isinstance(value, bool)),
        ("prefer", "a list of features or columns, such as ['Entropy']; [] prefers none", _is_list_of_names),
    ):
        if not holds(options[key]):
            raise ValueError(f"{prefix}{key} must be {rule}; found {options[key]!r}.")


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= 0


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)

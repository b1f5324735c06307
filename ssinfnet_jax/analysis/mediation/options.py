"""Options of the analysis: those of a config, and those that only a table can have."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_origin

from ssinfnet_jax.config import Mediation, choices, types_of


@dataclasses.dataclass(frozen=True)
class Options(Mediation):
    """How analyse() works: the options of a config (`config.Mediation`), and more.

    Attributes:
      mediators: columns, or a regular expression that is searched in the names of numeric columns, such as
        "^ggo_(firstorder|glcm)_"; it skips columns of text and the counts of by_patient() and table() (num_slices,
        num_failed, num_bins).
      outcome: column, 0 or 1. Where `levels` are given, the column `<outcome>_level` holds them if there is one, else
        the outcome itself.
      min_n: see univariate().
      cluster, weights: columns, see sampling.read().
    Exposures, covariates and the moderator may be columns of categories, `C(scanner)`, see categories.expand().
    Raises: ValueError for an unknown choice, weights with screening, clusters or weights with fiml.
    """

    mediators: str | Sequence[str]
    outcome: str = "severity"
    min_n: int = 10
    cluster: str = ""
    weights: str = ""

    def __post_init__(self):
        super().__post_init__()
        if self.missing == "fiml" and (self.cluster or self.weights):
            raise ValueError("missing='fiml' takes neither cluster nor weights; choose one of the two.")
        if self.screening and self.weights:
            raise ValueError("The screening of mediators takes no weights of patients; choose one of the two.")
        for key, kind in types_of(Mediation).items():
            value = getattr(self, key)
            if get_origin(kind) is Literal and value not in choices(Mediation, key):
                raise ValueError(f"Unknown {key} {value!r}; choose one of {', '.join(choices(Mediation, key))}.")

    @property
    def models(self) -> dict[str, Any]:
        """What all models of a pair share."""
        return {"covariates": list(self.covariates), "min_n": self.min_n}

    @property
    def tests(self) -> dict[str, Any]:
        """How p values of pairs are adjusted."""
        return {"adjust": self.adjust, "family": self.family}

    @property
    def draws(self) -> dict[str, Any]:
        """Number and seed of the resamples."""
        return {"draws": self.bootstrap_draws, "seed": self.seed}

    def record(self, names: Sequence[str], num_patients: int) -> dict[str, Any]:
        """Plain values for summary.json, with the mediators by name.

        Args:
          names: of the mediators.
          num_patients: rows of the table.
        """
        values = dataclasses.asdict(self)
        values["threshold"] = values.pop("max_correlation")
        values |= {"mediators": names, "num_mediators": len(names), "num_patients": num_patients}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

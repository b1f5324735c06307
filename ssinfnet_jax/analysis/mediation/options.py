"""Options of the analysis: those of a config, and what only a caller can say."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ssinfnet_jax.analysis.mediation.several.correlation_filter import PREFER
from ssinfnet_jax.analysis.mediation.several.multiple import MISSING
from ssinfnet_jax.config import Mediation, choices


@dataclasses.dataclass(frozen=True)
class Options(Mediation):
    """How analyse() works: the options of a config (`config.Mediation`), with defaults, and more for callers.

    Attributes:
      mediators: columns, or a regular expression that is searched in the names of numeric columns, such as
        "^ggo_(firstorder|glcm)_"; columns of text, and the counts of by_patient() and table() (num_slices,
        num_failed, num_bins), are passed over.
      outcome: column, 0 or 1.
      min_n: see univariate().
      cluster, weights, robust: see sampling.read().
      interaction: see natural_effects().
      sets: of mediators whose joint effects are wanted, see several.joint.sets_by_name(); () for none.
      screening: whether mediators are chosen among all by several.screening.screen(), too.
      fdr: false discovery rate of the screening.
      missing: of the path model, see multiple(): "listwise" or "fiml", which makes no bootstrap intervals of it.
      imputations, imputation_cycles: of imputed_effects(), beside listwise deletion; 0 imputations for none.
    Exposures and covariates may be columns of categories, `C(scanner)`, see categories.expand().
    Raises: ValueError for an unknown rule or unknown paths, an fdr outside (0, 1), weights in a screening, clusters
      or weights with fiml.
    """

    mediators: str | Sequence[str]
    rule: str = "indirect"
    alpha: float = 0.05
    max_correlation: float = 0.8
    prefer: Sequence[str] = PREFER
    adjust: str = "fdr_bh"
    family: str = "all"
    covariates: Sequence[str] = ()
    paths: str = "selected"
    residual_covariances: bool = True
    link: str = "logit"
    bootstrap_draws: int = 1000
    seed: int = 0
    outcome: str = "severity"
    min_n: int = 10
    cluster: str = ""
    weights: str = ""
    robust: bool = False
    interaction: bool = False
    sets: Sequence[str] = ()
    screening: bool = False
    fdr: float = 0.05
    missing: str = "listwise"
    imputations: int = 0
    imputation_cycles: int = 10

    def __post_init__(self):
        if not 0 < self.fdr < 1:
            raise ValueError(f"fdr must be in (0, 1), found {self.fdr}.")
        if self.imputations and min(self.imputations, self.imputation_cycles) < 2:
            raise ValueError(
                "imputations must be 0 or 2 and more, and imputation_cycles 2 or more; found "
                f"{self.imputations} and {self.imputation_cycles}."
            )
        if self.missing not in MISSING:
            raise ValueError(f"Unknown missing {self.missing!r}; choose one of {', '.join(MISSING)}.")
        if self.missing == "fiml" and (self.cluster or self.weights or self.robust):
            raise ValueError("missing='fiml' takes neither cluster nor weights nor robust; leave one of both out.")
        if self.screening and self.weights:
            raise ValueError("The screening of mediators takes no weights of patients; leave one of both out.")
        for key in ("rule", "paths"):
            value, known = getattr(self, key), choices(Mediation, key)
            if value not in known:
                raise ValueError(f"Unknown {key} {value!r}; choose one of {', '.join(known)}.")

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
        """Of the resamples."""
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

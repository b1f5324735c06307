"""A verdict on the fit of a path model, with advice."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Cutoff(NamedTuple):
    """A bound on a fit measure of a good model."""

    name: str
    bound: float
    is_least: bool  # else the bound is the most

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'at least' if self.is_least else 'at most'} {self.bound}"


# Hu and Bentler 1999, doi:10.1080/10705519909540118.
CUTOFFS = {
    "cfi": Cutoff("CFI", 0.95, is_least=True),
    "rmsea": Cutoff("RMSEA", 0.06, is_least=False),
    "srmr": Cutoff("SRMR", 0.08, is_least=False),
}
_FREE_RESIDUALS = (
    "Let the residuals of the mediators correlate: residual_covariances=True (launch.mediate --residual_covariances, "
    "config.mediation.residual_covariances=True)."
)
_ALL_PATHS = (
    "An exposure is associated with a mediator that was not selected for it. Let every exposure act on every mediator: "
    "paths='all' of analyse() (launch.mediate --paths=all, config.mediation.paths='all'), or in multiple() every "
    "mediator under every exposure."
)


class Verdict(NamedTuple):
    """word: "saturated", "good" or "poor"; text: sentences for a reader, with what to do."""

    word: str
    text: str


def judge(fit: Mapping[str, Any], *, num_mediators: int, residual_covariances: bool) -> Verdict:
    """Compares fit measures with CUTOFFS; a model that misses one of them fits poorly.

    Args:
      fit: of fit_measures().
      num_mediators: of the model.
      residual_covariances: whether the residuals of mediators may correlate in it.
    """
    if not fit["df"]:
        return Verdict(
            "saturated",
            "The model is saturated: it has no degrees of freedom and reproduces every correlation, so there is no fit "
            "to judge.",
        )
    measured = {name: f"{cutoff.name} {_rounded(fit[name], cutoff)}" for name, cutoff in CUTOFFS.items()}
    missed = [
        f"{measured[name]} (should be {cutoff})" for name, cutoff in CUTOFFS.items() if not cutoff.holds(fit[name])
    ]
    if not missed:
        kept = ", ".join(f"{measured[name]} ({cutoff})" for name, cutoff in CUTOFFS.items())
        return Verdict("good", f"The model fits well by the usual cut-offs: {kept}.")
    remedy = _ALL_PATHS if residual_covariances or num_mediators < 2 else _FREE_RESIDUALS
    return Verdict(
        "poor",
        f"The model fits poorly: {', '.join(missed)}. Do not rely on its estimates, tests and intervals. {remedy}",
    )


def _rounded(value: float, cutoff: Cutoff) -> str:
    """Three decimals, or as many as it takes to show the side of the cut-off that the value is on."""
    return next(
        text
        for text in (*(f"{value:.{digits}f}" for digits in range(3, 17)), repr(value))
        if cutoff.holds(float(text)) == cutoff.holds(value)
    )

"""Mediation analysis: mediators one at a time, the choice among correlated ones, all in one path model.

With bootstrap intervals, natural effects on a binary outcome, and sensitivity to unmeasured confounding.
"""

from ssinfnet_jax.analysis.mediation.bootstrap import bootstrap, bootstrap_multiple
from ssinfnet_jax.analysis.mediation.estimation.adjust import adjust
from ssinfnet_jax.analysis.mediation.moderated import moderated_effects
from ssinfnet_jax.analysis.mediation.options import Options
from ssinfnet_jax.analysis.mediation.outcome.natural import natural_effects
from ssinfnet_jax.analysis.mediation.outcome.ordinal import ordinal_effects
from ssinfnet_jax.analysis.mediation.procedure import analyse
from ssinfnet_jax.analysis.mediation.result import CAVEAT, Analysis
from ssinfnet_jax.analysis.mediation.sensitivity import e_value, sensitivity
from ssinfnet_jax.analysis.mediation.several.correlation_filter import Filtered, correlation_filter
from ssinfnet_jax.analysis.mediation.several.joint import joint_effects, sets_by_name
from ssinfnet_jax.analysis.mediation.several.model_fit import CUTOFFS
from ssinfnet_jax.analysis.mediation.several.multiple import Multiple, multiple
from ssinfnet_jax.analysis.mediation.several.screening import screen
from ssinfnet_jax.analysis.mediation.univariate import univariate

__all__ = [
    "CAVEAT",
    "CUTOFFS",
    "Analysis",
    "Filtered",
    "Multiple",
    "Options",
    "adjust",
    "analyse",
    "bootstrap",
    "bootstrap_multiple",
    "correlation_filter",
    "e_value",
    "joint_effects",
    "moderated_effects",
    "multiple",
    "natural_effects",
    "ordinal_effects",
    "screen",
    "sensitivity",
    "sets_by_name",
    "univariate",
]

"""Logit and probit regressions, many at once, which tell separation from failure to converge."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from ssinfnet_jax.analysis.mediation.estimation import elimination
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision

LOG_CDF = {"logit": jax.nn.log_sigmoid, "probit": jax.scipy.stats.norm.logcdf}
_MAX_STEPS = 40
_TOLERANCE = 1e-9  # of the last Newton step, in the units of the (standardised) columns
_SHORTER = 0.5 ** np.arange(8)
# Of a standardised coefficient: beyond it, a fit that looks converged may have stopped on the way to infinity.
_LARGE_SE = 100.0


class Binomial(NamedTuple):
    """coefficients float64[K, P]; covariance float64[K, P, P]; flag object[K], "" or why there is no fit.

    influence: float64[N, K, P], how much each row moves the coefficients; its products are the sandwich.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    flag: np.ndarray
    influence: np.ndarray


def fit(design: np.ndarray, positive: np.ndarray, valid: np.ndarray, link: str) -> Binomial:
    """Maximises sum log F((2 y - 1) design b) by Newton steps, shortened where they overshoot.

    With the logistic F or the normal one the log-likelihood is concave. The covariance is the inverse of the
    observed information. Without a maximum (separation: some combination of the columns tells y = 1 from
    y = 0 without error) coefficients diverge; a fit that has not converged, or has a standard error
    above 100 or none, is tested for it by linear programming.

    Args:
      design: float[N, K, P], with the intercept, columns of order 1.
      positive: bool[N, K], y = 1.  valid: bool or float[N, K] >= 0, how often a row counts.
      link: "logit" or "probit".
    Returns: Binomial, NaN where there is a flag.
    Raises: ValueError for an unknown link.
    Source: Albert and Anderson 1984, doi:10.1093/biomet/71.1.1 (separation); Konis 2007, Linear programming
      algorithms for detecting separated data in binary logistic regression models.
    """
    if link not in LOG_CDF:
        raise ValueError(f"Unknown link {link!r}; choose one of {', '.join(LOG_CDF)}.")
    with double_precision():
        by_pair = (jnp.asarray(np.moveaxis(array, 0, 1), jnp.float64) for array in (design, positive, valid))
        found = [np.array(array) for array in _newton(*by_pair, link)]
    coefficients, covariance, step, influence = found
    flag = np.full(len(step), "", dtype=object)
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).max(1)
    failed = ~(step < 1e3 * _TOLERANCE) | ~np.isfinite(se)
    for pair in np.flatnonzero(failed | (se > _LARGE_SE)):
        rows = valid[:, pair] > 0
        if rows.any() and _is_separated(design[rows, pair], positive[rows, pair]):
            flag[pair] = "the outcome is separated (predicted without error)"
        elif failed[pair]:
            flag[pair] = "no convergence"
    coefficients[flag != ""], covariance[flag != ""], influence[flag != ""] = np.nan, np.nan, np.nan
    return Binomial(coefficients, covariance, flag, np.moveaxis(influence, 1, 0))


@jax.jit(static_argnums=3)
def _newton(design: jax.Array, positive: jax.Array, valid: jax.Array, link: str):
    """[K, N, P], [K, N], [K, N] -> coefficients [K, P], covariance [K, P, P], last step [K], influence [K, N, P]."""
    log_cdf = LOG_CDF[link]
    slope = jnp.vectorize(jax.grad(log_cdf))
    curvature = jnp.vectorize(jax.grad(jax.grad(log_cdf)))

    def information(x, sign, valid, b):
        weight = -valid * curvature(sign * (x @ b))
        return x.T @ (weight[:, None] * x)

    def one(x, positive, valid):
        sign = 2 * positive - 1

        def advance(state):
            b, _, count = state
            score = x.T @ (valid * sign * slope(sign * (x @ b)))
            full = elimination.solve(information(x, sign, valid, b), score[:, None])[0][:, 0]
            tried = b[None] + jnp.asarray(_SHORTER)[:, None] * full[None]
            likelihood = log_cdf(sign[None] * (tried @ x.T)) @ valid
            step = full * jnp.asarray(_SHORTER)[jnp.argmax(likelihood)]
            return b + step, jnp.abs(step).max(), count + 1

        start = (jnp.zeros(x.shape[1]), jnp.asarray(jnp.inf), 0)
        b, step, _ = jax.lax.while_loop(lambda s: (s[1] > _TOLERANCE) & (s[2] < _MAX_STEPS), advance, start)
        covariance = elimination.inverse(information(x, sign, valid, b))
        return b, covariance, step, (valid * sign * slope(sign * (x @ b)))[:, None] * (x @ covariance)

    return jax.vmap(one)(design, positive, valid)


def _is_separated(design: np.ndarray, positive: np.ndarray) -> bool:
    """Whether a direction d exists with (2 y - 1) design d >= 0 for all rows, and > 0 for some."""
    signed = np.where(positive[:, None], design, -design)
    found = optimize.linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    return bool(found.success and -found.fun > 1e-6)

"""Proportional-odds regressions of an outcome in ordered levels, many at once, and a test of their assumption."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ssinfnet_jax.analysis.mediation.estimation import elimination
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision
from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling
from ssinfnet_jax.analysis.mediation.outcome import binomial

_MAX_STEPS = 60
_TOLERANCE = 1e-9  # of the last Newton step, in the units of the (standardised) columns
_SHORTER = 0.5 ** np.arange(10)
_FAR = 1e4  # thresholds below the first and above the last level


class Odds(NamedTuple):
    """K regressions with J levels on P columns.

    thresholds: float64[K, J - 1], ascending.  coefficients: float64[K, P].
    covariance: float64[K, J - 1 + P, J - 1 + P], of both.  influence: float64[N, K, J - 1 + P], how much each row moves
      them.  log_likelihood: float64[K].  flag: object[K], "" or why there is no fit.
    """

    thresholds: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    influence: np.ndarray
    log_likelihood: np.ndarray
    flag: np.ndarray


def fit(design: np.ndarray, level: np.ndarray, weights: np.ndarray, num_levels: int) -> Odds:
    """Maximises sum_i w_i log P(y = level_i), P(y <= j) = sigmoid(t_j - design b), by Newton steps.

    The log-likelihood is concave; steps are halved where they overshoot. The covariance is the inverse of the observed
    information.

    Args:
      design: float[N, K, P], without intercept, columns of order 1.
      level: int[N], from 0 to num_levels - 1, or int[N, K] where each regression has an outcome of its own.
      weights: float[N, K] >= 0.
    Returns: Odds; NaN where a level has no patient or the steps do not converge (separation).
    Source: McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x; R's ordinal::clm(), MASS::polr().
    """
    level = _by_model(level, weights.shape)
    counts = np.stack([(weights * (level == j)).sum(0) for j in range(num_levels)], axis=1)
    flag = np.full(design.shape[1], "", dtype=object)
    flag[(counts <= 0).any(1)] = "a level has no patient in the complete rows"
    share = np.cumsum(np.where(counts > 0, counts, 1.0), axis=1)
    start = np.log(share[:, :-1] / (share[:, -1:] - share[:, :-1]))
    with double_precision():
        by_pair = (jnp.asarray(np.moveaxis(array, 0, 1)) for array in (design, weights, level))
        found = [np.array(array) for array in _newton(*by_pair, jnp.asarray(start))]
    theta, covariance, influence, log_likelihood, step = found
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).max(1)
    failed = ~(step < 1e3 * _TOLERANCE) | ~np.isfinite(se) | (se > 100)
    flag[failed & (flag == "")] = "no convergence: the levels are separated, or nearly"
    for array in (theta, covariance, influence, log_likelihood):
        array[flag != ""] = np.nan
    cut = num_levels - 1
    return Odds(theta[:, :cut], theta[:, cut:], covariance, np.moveaxis(influence, 1, 0), log_likelihood, flag)


@jax.jit
def _newton(design: jax.Array, weights: jax.Array, level: jax.Array, start: jax.Array):
    """[K, N, P], [K, N], [K, N], [K, J - 1] -> theta [K, T], covariance, influence [K, N, T], likelihood, last step."""
    num_thresholds = start.shape[1]

    def of_row(theta, row, level):
        ends = jnp.concatenate([jnp.full(1, -_FAR), theta[:num_thresholds], jnp.full(1, _FAR)])
        score = row @ theta[num_thresholds:]
        below, above = ends[level] - score, ends[level + 1] - score
        # sigmoid(above) - sigmoid(below), without loss of digits
        width = jnp.where(above > below, above - below, jnp.nan)
        return jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + jnp.log(-jnp.expm1(-width))

    def one(x, w, level, start):
        def likelihood(theta):
            values = jax.vmap(of_row, in_axes=(None, 0, 0))(theta, x, level)
            return jnp.where(w > 0, w * values, 0.0).sum()

        def advance(state):
            theta, _, count = state
            score = jax.grad(likelihood)(theta)
            full = elimination.solve(-jax.hessian(likelihood)(theta), score[:, None])[0][:, 0]
            tried = theta[None] + jnp.asarray(_SHORTER)[:, None] * full[None]
            best = jnp.argmax(jnp.nan_to_num(jax.vmap(likelihood)(tried), nan=-jnp.inf))
            step = full * jnp.asarray(_SHORTER)[best]
            return theta + step, jnp.abs(step).max(), count + 1

        begin = jnp.concatenate([start, jnp.zeros(x.shape[1])])
        going = (begin, jnp.asarray(jnp.inf), 0)
        theta, step, _ = jax.lax.while_loop(lambda s: (s[1] > _TOLERANCE) & (s[2] < _MAX_STEPS), advance, going)
        covariance = elimination.inverse(-jax.hessian(likelihood)(theta))
        scores = jax.vmap(jax.grad(of_row), in_axes=(None, 0, 0))(theta, x, level) * w[:, None]
        return theta, covariance, scores @ covariance, likelihood(theta), step

    return jax.lax.map(lambda pair: one(*pair), (design, weights, level, start))


def _by_model(level: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """int[N] or int[N, K] as int[N, K]."""
    return np.broadcast_to(level if level.ndim == 2 else level[:, None], shape)


def parallel_test(
    design: np.ndarray, level: np.ndarray, weights: np.ndarray, num_levels: int, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray]:
    """Tests that every threshold has the same coefficients: a Wald test of the J - 1 logit regressions of y > j.

    As Brant's test, but with the covariance between the regressions from what each patient adds to them (a sandwich),
    which accounts for clusters and weights.

    Args:
      design, level, weights, num_levels: see fit().
      sampling: of the rows.
    Returns: chi-square [K] with (J - 2) P degrees of freedom, p [K]; NaN where a regression cannot be fitted, and 0 and
      1 with two levels.
    Source: Brant 1990, doi:10.2307/2532457.
    """
    _, num_models, num = design.shape
    if num_levels == 2:
        return np.zeros(num_models), np.ones(num_models)
    with_one = np.concatenate([np.ones((*design.shape[:2], 1)), design], axis=2)
    level = _by_model(level, weights.shape)
    fits = [binomial.fit(with_one, level > j, weights, "logit") for j in range(num_levels - 1)]
    slopes = np.stack([found.coefficients[:, 1:] for found in fits], axis=1)
    moved = np.stack([found.influence[..., 1:] for found in fits], axis=2)
    differences = (slopes[:, 1:] - slopes[:, :1]).reshape(num_models, -1)
    moved = (moved[:, :, 1:] - moved[:, :, :1]).reshape(len(design), num_models, -1)
    covariance = sampled.covariance(moved, sampling, weights > 0)
    chisq = np.full(num_models, np.nan)
    for k in np.flatnonzero(np.isfinite(covariance).all((1, 2)) & np.isfinite(differences).all(1)):
        chisq[k] = differences[k] @ np.linalg.lstsq(covariance[k], differences[k], rcond=None)[0]
    return chisq, stats.chi2.sf(chisq, (num_levels - 2) * num)

"""Natural effects of one mediator as functions of the coefficients of its two regressions, with their derivatives."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.sampling import Sampling
from ssinfnet_jax.analysis.mediation.outcome import binomial

EFFECTS = ("indirect", "direct", "total", "pure_indirect", "total_direct")
# Trapezoid rule: Gauss-Hermite nodes are too far apart if a mediator nearly separates the outcome. Its error is below
# 1e-10 as long as b times the mediator's SD is below 15, and below 1e-4 below 60.
_NODES = np.linspace(-9, 9, 401)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_BATCH = 16  # pairs that are computed at once
_MAX_CELLS = 4_000_000  # but no more values than these: pairs times patients times nodes


class Theta(NamedTuple):
    """Coefficients of standardised columns: mediator on [1, covariates, x]; log s; outcome on these, m, and x m.

    Without interaction the coefficient of x m is 0, without variance.
    """

    mediator: np.ndarray
    log_sd: np.ndarray
    outcome: np.ndarray


def parameters(
    pairs: pairing.Pairs,
    model: binomial.Binomial,
    of_mediator: binomial.Binomial,
    binary: np.ndarray,
    usable: np.ndarray,
    sampling: Sampling,
) -> tuple[Theta, np.ndarray]:
    """Both regressions of K pairs, and the covariance [K, T, T] of all T parameters in the order of Theta.

    A mediator with two values has no s: its log s is 0 without variance.

    Args:
      model, of_mediator: the outcome's regression, and that of mediators with two values (`binary` bool[K]).
      usable: bool[K], pairs that have these.
      sampling: with clusters, weights or `robust` the covariance is a sandwich.
    """
    num_pairs, num_columns = pairs.sd.shape
    left = num_columns - 2  # covariates and x
    r = np.where(usable[:, None, None], pairs.correlations(), np.eye(num_columns))
    n = np.maximum(pairs.n, 1)
    among = np.tile(np.eye(left + 1), (num_pairs, 1, 1))  # moments of [1, covariates, x]: the intercept is apart
    among[:, 1:, 1:] = r[:, :left, :left]
    target = np.concatenate([np.zeros((num_pairs, 1)), r[:, :left, left]], axis=1)
    a = np.linalg.solve(among, target[..., None])[..., 0]
    variance = 1 - (a * target).sum(1)
    of_a = (variance / n)[:, None, None] * np.linalg.inv(among)
    blocks = [np.where(binary[:, None, None], of_mediator.covariance, of_a)]
    blocks += [np.where(binary, 0, 1 / (2 * n))[:, None, None], model.covariance]
    theta = Theta(
        np.where(binary[:, None], of_mediator.coefficients, a),
        np.where(binary, 0, np.log(variance) / 2)[:, None],
        model.coefficients,
    )
    if sampling.is_plain:
        return theta, _block_diagonal(blocks)
    design = np.concatenate([np.ones((*pairs.z.shape[:2], 1)), pairs.z[..., :left]], axis=-1)
    error = pairs.z[..., left] - (design * a).sum(-1)
    linear = (np.linalg.inv(among) @ (design * error[..., None])[..., None])[..., 0] / n[:, None]
    of_log_sd = np.where(binary, 0.0, (error**2 / variance - 1) / (2 * n))
    moved = [np.where(binary[:, None], of_mediator.influence, linear * pairs.weights[..., None])]
    moved += [(of_log_sd * pairs.weights)[..., None], model.influence]
    return theta, sampled.covariance(np.concatenate(moved, axis=-1), sampling, pairs.complete)


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    """[K, P, P], [K, Q, Q], ... -> [K, P + Q + ..., P + Q + ...]."""
    size = sum(block.shape[-1] for block in blocks)
    whole, start = np.zeros((len(blocks[0]), size, size)), 0
    for block in blocks:
        end = start + block.shape[-1]
        whole[:, start:end, start:end] = block
        start = end
    return whole


def effects(
    pairs: pairing.Pairs, theta: Theta, binary: np.ndarray, usable: np.ndarray, values: tuple[float, float], link: str
) -> tuple[np.ndarray, np.ndarray]:
    """Effects [K, 7] of K pairs, and their derivatives [K, 7, T] by all T parameters in the order of Theta.

    The seven are EFFECTS, the log risk ratio and the proportion mediated; NaN for pairs that are not `usable`.

    Args:
      binary, usable: see parameters().
      values: of the exposure, from and to.
    """
    num_parameters = sum(part.shape[1] for part in theta)
    found = np.full((len(pairs.n), 7), np.nan)
    slopes = np.full((len(pairs.n), 7, num_parameters), np.nan)
    points = (np.asarray(values) - pairs.mean[:, -3, None]) / pairs.sd[:, -3, None]
    given, rows = _patients(pairs)
    levels = np.stack([pairs.z[..., -2].min(0), pairs.z[..., -2].max(0)], axis=1)
    for two_values in (False, True):
        chosen = np.flatnonzero(usable & (binary == two_values))
        if len(chosen):
            inputs = [array[chosen] for array in (*theta, points, given, rows, levels)]
            of_chosen = _effects(Theta(*inputs[:3]), *inputs[3:], link=link, two_values=two_values)
            found[chosen], slopes[chosen] = of_chosen
    return found, slopes


def _patients(pairs: pairing.Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Covariates [K, N, Q] and weights [K, N] of the patients over whom probabilities are averaged.

    For a category of an exposure: those in none of the other categories, which are the last covariates.
    """
    given = np.moveaxis(pairs.z[..., :-3], 0, 1)
    if not given.shape[-1]:  # all patients have the same probabilities: one row does
        return np.zeros((len(pairs.n), 1, 0)), np.ones((len(pairs.n), 1))
    siblings = pairs.z[..., given.shape[-1] - pairs.siblings : -3]
    return given, (pairs.weights * (siblings <= siblings.min(0)).all(-1)).T


@functools.partial(jax.jit, static_argnames=("link", "two_values"))
def _effects(theta: Theta, points, covariates, rows, levels, link: str, two_values: bool):
    def one(pair):
        theta, points, covariates, rows, levels = pair
        fixed = {"points": points, "covariates": covariates, "rows": rows, "levels": levels if two_values else None}
        of_theta = functools.partial(_effects_of_one, **fixed, link=link)
        slopes = jax.jacfwd(lambda t: of_theta(Theta(*t)))(tuple(theta))
        return of_theta(theta), jnp.concatenate(slopes, axis=1)

    batch = max(1, min(_BATCH, _MAX_CELLS // (rows.shape[1] * len(_NODES))))
    return jax.lax.map(one, (theta, points, covariates, rows, levels), batch_size=batch)


def _effects_of_one(theta: Theta, points, covariates, rows, levels, link: str) -> jax.Array:
    """`levels` float[2]: the two values of the mediator; None for a normal one."""
    start, end = points
    cdf = jax.nn.sigmoid if link == "logit" else jax.scipy.stats.norm.cdf

    def probability(x, x_of_mediator):
        m = theta.mediator[0] + covariates @ theta.mediator[1:-1] + theta.mediator[-1] * x_of_mediator
        b, spread = theta.outcome[-2] + theta.outcome[-1] * x, jnp.exp(theta.log_sd[0])
        score = theta.outcome[0] + covariates @ theta.outcome[1:-3] + theta.outcome[-3] * x
        if levels is not None:
            high = cdf(m)
            mean = (1 - high) * cdf(score + b * levels[0]) + high * cdf(score + b * levels[1])
        elif link == "probit":  # a probit of a normal variable is a probit
            mean = cdf((score + b * m) / jnp.sqrt(1 + (b * spread) ** 2))
        else:
            mean = _mean_sigmoid(score + b * m, b * spread)
        return (mean * rows).sum() / rows.sum()

    both, neither = probability(end, end), probability(start, start)
    only_direct, only_indirect = probability(end, start), probability(start, end)
    indirect, total = both - only_direct, both - neither
    found = [indirect, only_direct - neither, total, only_indirect - neither, both - only_indirect]
    return jnp.stack([*found, jnp.log(both / only_direct), indirect / total])


@jax.custom_jvp
def _mean_sigmoid(score: jax.Array, spread: jax.Array) -> jax.Array:
    """E sigmoid(score + spread z), z ~ N(0, 1): scores [N] and one spread -> [N]."""
    return jax.nn.sigmoid(score[:, None] + spread * _NODES[None]) @ _WEIGHTS


@_mean_sigmoid.defjvp
def _mean_sigmoid_jvp(primals, tangents):
    """Both derivatives from one look at the nodes, however many parameters there are."""
    score, spread = primals
    curve = jax.nn.sigmoid(score[:, None] + spread * _NODES[None])
    by_score, by_spread = jnp.moveaxis((curve * (1 - curve)) @ np.stack([_WEIGHTS, _WEIGHTS * _NODES], 1), -1, 0)
    return curve @ _WEIGHTS, by_score * tangents[0] + by_spread * tangents[1]

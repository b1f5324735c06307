"""Natural direct and indirect effects on a binary outcome: differences of probability, from logit or probit."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import binomial, columns
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.adjust import describe_family, within_family
from ssinfnet_jax.analysis.mediation.host import double_precision

EFFECTS = ("indirect", "direct", "total")
# The trapezoid rule: Gauss-Hermite nodes are too far apart for the steep curve of a mediator that nearly tells the
# outcome. Its error is below 1e-10 as long as b times the mediator's SD is below 15, and below 1e-4 below 60.
_NODES = np.linspace(-9, 9, 401)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_BATCH = 16  # pairs that are computed at once
_MAX_CELLS = 4_000_000  # but no more values than these: pairs times patients times nodes


def natural_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    link: str = "logit",
    level: float = 0.95,
    adjust: str = "fdr_bh",
    family: str = "all",
    min_n: int = 10,
) -> pd.DataFrame:
    """Effects of the exposure going from one value to another, on the probability of the outcome.

    m = a0 + a x + e, e ~ N(0, s^2), and P(y = 1) = F(c0 + c x + b m), with covariates in both. With
    P(x, x') = E F(c0 + c x + b M(x')), averaged over e (in closed form for the probit, by the trapezoid rule for the
    logit) and the patients' covariates,
      indirect = P(to, to) - P(to, from)      (total natural indirect effect)
      direct   = P(to, from) - P(from, from)  (pure natural direct effect)
      total    = P(to, to) - P(from, from), the sum of both.
    Standard errors follow by the delta method from the covariances of both regressions.

    Args:
      table, exposures, mediators, outcome, covariates, adjust, family, min_n: see univariate(); the outcome is
        0 or 1.
      link: "logit" or "probit".
      level: of the intervals, estimate -+ z se.
    Returns: one row per pair in the order of univariate(): exposure, mediator, n, flag;
      - from, to: the two values of a binary exposure, else its mean -+ half a standard deviation (so that
        effects are of one standard deviation);
      - b_est, b_se, b_z, b_p: of m in the outcome's regression (log odds ratio per unit for the logit);
        b_std: per standard deviation of m;
      - indirect_, direct_, total_: est, se, z, p, lower, upper; indirect_p_adj; proportion_mediated;
      - risk_ratio, risk_ratio_lower, risk_ratio_upper: P(to, to) / P(to, from), interval from its logarithm.
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError as univariate(), for an outcome that is not 0 or 1, or an unknown link.
    Source: Pearl 2001, arXiv:1301.2300; Imai, Keele and Tingley 2010, doi:10.1037/a0020761; VanderWeele and
      Vansteelandt 2010, doi:10.1093/aje/kwq332.
    """
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates).dropna(subset=[outcome])
    if not is_binary(data[outcome]):
        raise ValueError(
            f"The outcome {outcome!r} must be 0 or 1 for natural effects, both present; it has the values "
            f"{np.unique(data[outcome])[:5].tolist()}."
        )
    contrasts = {name: _contrast(data[name]) for name in exposures}
    blocks = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, covariates, min_n):
        contrast = contrasts[names["exposure"].iloc[0]]
        blocks.append(names.join(fit(pairs, contrast, link, level)))
    result = pd.concat(blocks, ignore_index=True)
    result.insert(result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", np.nan)
    result["indirect_p_adj"] = within_family(result, "indirect_p", adjust, family)
    result.attrs["family"] = describe_family(result, adjust, family)
    return result


def is_binary(outcome: pd.Series) -> bool:
    """Whether the values are 0 and 1, both."""
    return set(outcome.dropna().unique()) == {0, 1}


def _contrast(x: pd.Series) -> tuple[float, float]:
    values = np.unique(x.dropna())
    if len(values) == 2:
        return float(values[0]), float(values[1])
    mean, sd = float(x.mean()), float(x.std(ddof=0))
    return mean - sd / 2, mean + sd / 2


def fit(pairs: pairing.Pairs, contrast: tuple[float, float], link: str, level: float) -> pd.DataFrame:
    """The columns of natural_effects() from `n` on, for K pairs that share a contrast of the exposure."""
    ones = pairs.complete[..., None].astype(float)
    design = np.concatenate([ones, pairs.z[..., :-1]], axis=-1)  # intercept, covariates, x, m
    # Standardised, an outcome of 0 and 1 is negative and positive. Flagged pairs are all zeros: not fitted.
    model = binomial.fit(design, pairs.z[..., -1] > 0, pairs.complete & (pairs.flag == ""), link)
    flag = np.where(pairs.flag != "", pairs.flag, model.flag)
    usable = flag == ""
    x_mean, x_sd, m_sd = pairs.mean[:, -3], pairs.sd[:, -3], pairs.sd[:, -2]
    with np.errstate(all="ignore"), double_precision():
        values = (np.asarray(contrast) - x_mean[:, None]) / x_sd[:, None]
        theta, covariance = _parameters(pairs, model, usable)
        given = np.moveaxis(pairs.z[..., :-3], 0, 1)
        # Without covariates all patients have the same probabilities: one row does.
        rows = pairs.complete.T.astype(float) if given.shape[-1] else np.ones((len(flag), 1))
        given = given if given.shape[-1] else np.zeros((len(flag), 1, 0))
        found, se = (np.asarray(array) for array in _effects(theta, covariance, values, given, rows, link=link))
        b = theta.outcome[:, -1]
        b_se = np.sqrt(model.covariance[:, -1, -1])
        result = {"n": pairs.n, "flag": flag, "from": contrast[0], "to": contrast[1]}
        result |= {"b_est": b / m_sd, "b_se": b_se / m_sd} | _test("b", b / b_se) | {"b_std": b}
        reach = stats.norm.ppf((1 + level) / 2) * se
        for i, effect in enumerate(EFFECTS):
            result |= {f"{effect}_est": found[:, i], f"{effect}_se": se[:, i]} | _test(effect, found[:, i] / se[:, i])
            result |= {f"{effect}_lower": (found - reach)[:, i], f"{effect}_upper": (found + reach)[:, i]}
        result["proportion_mediated"] = found[:, 0] / found[:, 2]
        names = ("risk_ratio", "risk_ratio_lower", "risk_ratio_upper")
        result |= {name: np.exp(found[:, 3] + side * reach[:, 3]) for name, side in zip(names, (0, -1, 1), strict=True)}
    table = pd.DataFrame(result)
    table.loc[~usable, table.columns.difference(["n", "flag", "from", "to"])] = np.nan
    return table


def _test(name: str, z: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_z": z, f"{name}_p": 2 * stats.norm.sf(np.abs(z))}


class _Theta(NamedTuple):
    """Coefficients of standardised columns: mediator on [1, covariates, x]; log s; outcome on these and m."""

    mediator: np.ndarray
    log_sd: np.ndarray
    outcome: np.ndarray


def _parameters(pairs: pairing.Pairs, model: binomial.Binomial, usable: np.ndarray) -> tuple[_Theta, np.ndarray]:
    """Both regressions of K pairs, and the covariance [K, T, T] of all T parameters in the order of _Theta."""
    num_pairs, num_columns = pairs.sd.shape
    left = num_columns - 2  # covariates and x
    r = np.where(usable[:, None, None], pairs.correlations(), np.eye(num_columns))
    n = np.maximum(pairs.n, 1)
    among = np.tile(np.eye(left + 1), (num_pairs, 1, 1))  # moments of [1, covariates, x]: the intercept is apart
    among[:, 1:, 1:] = r[:, :left, :left]
    target = np.concatenate([np.zeros((num_pairs, 1)), r[:, :left, left]], axis=1)
    a = np.linalg.solve(among, target[..., None])[..., 0]
    variance = 1 - (a * target).sum(1)
    size = 2 * left + 4
    covariance = np.zeros((num_pairs, size, size))
    covariance[:, : left + 1, : left + 1] = (variance / n)[:, None, None] * np.linalg.inv(among)
    covariance[:, left + 1, left + 1] = 1 / (2 * n)
    covariance[:, left + 2 :, left + 2 :] = model.covariance
    return _Theta(a, np.log(variance) / 2, model.coefficients), covariance


@functools.partial(jax.jit, static_argnames="link")
def _effects(theta: _Theta, covariance, values, covariates, rows, link: str):
    """[K, 4] indirect, direct, total effect, log risk ratio; their standard errors."""

    def one(pair):
        theta, covariance, values, covariates, rows = pair
        effects = functools.partial(_effects_of_one, values=values, covariates=covariates, rows=rows, link=link)
        slopes = jnp.concatenate(jax.jacfwd(lambda t: effects(_Theta(*t)))(tuple(theta)), axis=1)
        return effects(theta), jnp.sqrt(((slopes @ covariance) * slopes).sum(1))

    theta = _Theta(theta.mediator, theta.log_sd[:, None], theta.outcome)
    batch = max(1, min(_BATCH, _MAX_CELLS // (rows.shape[1] * len(_NODES))))
    return jax.lax.map(one, (theta, covariance, values, covariates, rows), batch_size=batch)


def _effects_of_one(theta: _Theta, values, covariates, rows, link: str) -> jax.Array:
    start, end = values

    def probability(x, x_of_mediator):
        m = theta.mediator[0] + covariates @ theta.mediator[1:-1] + theta.mediator[-1] * x_of_mediator
        b, spread = theta.outcome[-1], jnp.exp(theta.log_sd[0])
        score = theta.outcome[0] + covariates @ theta.outcome[1:-2] + theta.outcome[-2] * x + b * m
        if link == "probit":  # a probit of a normal variable is a probit
            mean = jax.scipy.stats.norm.cdf(score / jnp.sqrt(1 + (b * spread) ** 2))
        else:
            mean = _mean_sigmoid(score, b * spread)
        return (mean * rows).sum() / rows.sum()

    both, crossed, neither = probability(end, end), probability(end, start), probability(start, start)
    return jnp.stack([both - crossed, crossed - neither, both - neither, jnp.log(both / crossed)])


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

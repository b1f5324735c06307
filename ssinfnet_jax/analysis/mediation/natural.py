"""Natural direct and indirect effects on a binary outcome: differences of probability, from logit or probit."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import binomial, columns, mediator_shape
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
_LARGEST_COUNT = 20  # whole numbers from 0 to this are counts
_ALWAYS = ["n", "flag", "mediator_model", "note", "from", "to"]  # columns of pairs that cannot be fitted, too


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

    m = a0 + a x + e, e ~ N(0, s^2), and P(y = 1) = F(c0 + c x + b m), with covariates in both. A mediator with two
    values l < h is P(m = h) = F(a0 + a x) instead. With P(x, x') = E F(c0 + c x + b M(x')), averaged over the mediator
    (for the probit in closed form, for the logit by the trapezoid rule; of two values it is their weighted sum) and
    the patients' covariates,
      indirect = P(to, to) - P(to, from)      (total natural indirect effect)
      direct   = P(to, from) - P(from, from)  (pure natural direct effect)
      total    = P(to, to) - P(from, from), the sum of both.
    Standard errors follow by the delta method from the covariances of both regressions.

    Args:
      table, exposures, mediators, outcome, covariates, adjust, family, min_n: see univariate(); the outcome is
        0 or 1.
      link: "logit" or "probit", of the outcome and of mediators with two values.
      level: of the intervals, estimate -+ z se.
    Returns: one row per pair in the order of univariate(): exposure, mediator, n, flag;
      - mediator_model: "linear", or the link where the mediator has two values; note: see mediator_shape.notes();
      - from, to: see contrast();
      - b_est, b_se, b_z, b_p: of m in the outcome's regression (log odds ratio per unit for the logit);
        b_std: per standard deviation of m;
      - indirect_, direct_, total_: est, se, z, p, lower, upper; indirect_p_adj;
      - proportion_mediated, proportion_mediated_lower, _upper: indirect / total, which means something only where
        both have one sign and the total effect is clear of 0;
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
    contrasts = {name: contrast(data[name]) for name in exposures}
    blocks = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, covariates, min_n):
        blocks.append(names.join(fit(pairs, contrasts[names["exposure"].iloc[0]], link, level)))
    result = pd.concat(blocks, ignore_index=True)
    result.insert(result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", np.nan)
    result["indirect_p_adj"] = within_family(result, "indirect", adjust, family)
    result.attrs["family"] = describe_family(result, adjust, family)
    return result


def is_binary(outcome: pd.Series) -> bool:
    """Whether the values are 0 and 1, both."""
    return set(outcome.dropna().unique()) == {0, 1}


def contrast(x: pd.Series) -> tuple[float, float]:
    """The two values of an exposure that natural effects compare, both within what was observed.

    - Two values, and counts (whole numbers from 0 to 20, such as a number of diseases): the largest observed value
      that is not above the mean, and the next one.
    - Others: the mean -+ half a standard deviation, moved up where the lower one would be below the smallest value.

    Returns: (from, to); NaN for a column without finite values.
    """
    values = np.unique(x[np.isfinite(x)])
    if len(values) == 0:
        return np.nan, np.nan
    mean, sd = float(x[np.isfinite(x)].mean()), float(x[np.isfinite(x)].std(ddof=0))
    is_count = values[0] >= 0 and values[-1] <= _LARGEST_COUNT and (values == np.round(values)).all()
    if len(values) == 2 or (is_count and len(values) > 2):
        place = min(np.searchsorted(values, mean, side="right"), len(values) - 1)
        return float(values[place - 1]), float(values[place])
    start = max(mean - sd / 2, float(values[0]))
    return start, start + sd


def fit(pairs: pairing.Pairs, values: tuple[float, float], link: str, level: float) -> pd.DataFrame:
    """The columns of natural_effects() from `n` on, for K pairs that share a contrast (`values`) of the exposure."""
    ones = pairs.complete[..., None].astype(float)
    design = np.concatenate([ones, pairs.z[..., :-1]], axis=-1)  # intercept, covariates, x, m
    # Standardised, an outcome of 0 and 1 is negative and positive. Flagged pairs are all zeros: not fitted.
    valid = pairs.complete & (pairs.flag == "")
    model = binomial.fit(design, pairs.z[..., -1] > 0, valid, link)
    binary = mediator_shape.is_binary(pairs)
    of_mediator = binomial.fit(design[..., :-1], pairs.z[..., -2] > 0, valid & binary, link)
    for_mediator = np.array([text.replace("the outcome", "the mediator") for text in of_mediator.flag], object)
    flag = np.select(
        [pairs.flag != "", model.flag != "", binary], [pairs.flag, model.flag, for_mediator], default=""
    ).astype(object)
    usable = flag == ""
    x_mean, x_sd, m_sd = pairs.mean[:, -3], pairs.sd[:, -3], pairs.sd[:, -2]
    with np.errstate(all="ignore"), double_precision():
        points = (np.asarray(values) - x_mean[:, None]) / x_sd[:, None]
        given = np.moveaxis(pairs.z[..., :-3], 0, 1)
        # Without covariates all patients have the same probabilities: one row does.
        rows = pairs.complete.T.astype(float) if given.shape[-1] else np.ones((len(flag), 1))
        given = given if given.shape[-1] else np.zeros((len(flag), 1, 0))
        theta, covariance = _parameters(pairs, model, of_mediator, binary, usable)
        levels = np.stack([pairs.z[..., -2].min(0), pairs.z[..., -2].max(0)], axis=1)
        found, se = np.full((len(flag), 5), np.nan), np.full((len(flag), 5), np.nan)
        for two_values in (False, True):
            chosen = np.flatnonzero(usable & (binary == two_values))
            if len(chosen):
                of_chosen = _Theta(*(array[chosen] for array in theta))
                inputs = (array[chosen] for array in (covariance, points, given, rows, levels))
                found[chosen], se[chosen] = _effects(of_chosen, *inputs, link=link, two_values=two_values)
        b = theta.outcome[:, -1]
        b_se = np.sqrt(model.covariance[:, -1, -1])
        result = {"n": pairs.n, "flag": flag, "mediator_model": np.where(binary, link, "linear")}
        result |= {"note": mediator_shape.notes(pairs), "from": values[0], "to": values[1]}
        result |= {"b_est": b / m_sd, "b_se": b_se / m_sd} | _test("b", b / b_se) | {"b_std": b}
        reach = stats.norm.ppf((1 + level) / 2) * se
        for i, effect in enumerate(EFFECTS):
            result |= {f"{effect}_est": found[:, i], f"{effect}_se": se[:, i]} | _test(effect, found[:, i] / se[:, i])
            result |= {f"{effect}_lower": (found - reach)[:, i], f"{effect}_upper": (found + reach)[:, i]}
        for place, name, scale in ((3, "risk_ratio", np.exp), (4, "proportion_mediated", np.positive)):
            for end, side in (("", 0), ("_lower", -1), ("_upper", 1)):
                result[f"{name}{end}"] = scale(found[:, place] + side * reach[:, place])
    table = pd.DataFrame(result)
    table.loc[~usable, table.columns.difference(_ALWAYS)] = np.nan
    return table


def _test(name: str, z: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_z": z, f"{name}_p": 2 * stats.norm.sf(np.abs(z))}


class _Theta(NamedTuple):
    """Coefficients of standardised columns: mediator on [1, covariates, x]; log s; outcome on these and m."""

    mediator: np.ndarray
    log_sd: np.ndarray
    outcome: np.ndarray


def _parameters(
    pairs: pairing.Pairs,
    model: binomial.Binomial,
    of_mediator: binomial.Binomial,
    binary: np.ndarray,
    usable: np.ndarray,
) -> tuple[_Theta, np.ndarray]:
    """Both regressions of K pairs, and the covariance [K, T, T] of all T parameters in the order of _Theta.

    A mediator with two values has no s: its log s is 0 without variance.
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
    size = 2 * left + 4
    covariance = np.zeros((num_pairs, size, size))
    of_a = (variance / n)[:, None, None] * np.linalg.inv(among)
    covariance[:, : left + 1, : left + 1] = np.where(binary[:, None, None], of_mediator.covariance, of_a)
    covariance[:, left + 1, left + 1] = np.where(binary, 0, 1 / (2 * n))
    covariance[:, left + 2 :, left + 2 :] = model.covariance
    a = np.where(binary[:, None], of_mediator.coefficients, a)
    return _Theta(a, np.where(binary, 0, np.log(variance) / 2)[:, None], model.coefficients), covariance


@functools.partial(jax.jit, static_argnames=("link", "two_values"))
def _effects(theta: _Theta, covariance, points, covariates, rows, levels, link: str, two_values: bool):
    """[K, 5] indirect, direct, total effect, log risk ratio, proportion mediated; their standard errors."""

    def one(pair):
        theta, covariance, points, covariates, rows, levels = pair
        fixed = {"points": points, "covariates": covariates, "rows": rows, "levels": levels if two_values else None}
        effects = functools.partial(_effects_of_one, **fixed, link=link)
        slopes = jnp.concatenate(jax.jacfwd(lambda t: effects(_Theta(*t)))(tuple(theta)), axis=1)
        return effects(theta), jnp.sqrt(((slopes @ covariance) * slopes).sum(1))

    batch = max(1, min(_BATCH, _MAX_CELLS // (rows.shape[1] * len(_NODES))))
    return jax.lax.map(one, (theta, covariance, points, covariates, rows, levels), batch_size=batch)


def _effects_of_one(theta: _Theta, points, covariates, rows, levels, link: str) -> jax.Array:
    """`levels` float[2]: the two values of the mediator; None for a normal one."""
    start, end = points
    cdf = jax.nn.sigmoid if link == "logit" else jax.scipy.stats.norm.cdf

    def probability(x, x_of_mediator):
        m = theta.mediator[0] + covariates @ theta.mediator[1:-1] + theta.mediator[-1] * x_of_mediator
        b, spread = theta.outcome[-1], jnp.exp(theta.log_sd[0])
        score = theta.outcome[0] + covariates @ theta.outcome[1:-2] + theta.outcome[-2] * x
        if levels is not None:
            high = cdf(m)
            mean = (1 - high) * cdf(score + b * levels[0]) + high * cdf(score + b * levels[1])
        elif link == "probit":  # a probit of a normal variable is a probit
            mean = cdf((score + b * m) / jnp.sqrt(1 + (b * spread) ** 2))
        else:
            mean = _mean_sigmoid(score + b * m, b * spread)
        return (mean * rows).sum() / rows.sum()

    both, crossed, neither = probability(end, end), probability(end, start), probability(start, start)
    indirect, total = both - crossed, both - neither
    return jnp.stack([indirect, crossed - neither, total, jnp.log(both / crossed), indirect / total])


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

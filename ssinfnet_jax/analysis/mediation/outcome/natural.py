"""Natural direct and indirect effects on a binary outcome: differences of probability, from logit or probit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns, mediator_shape
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.adjust import describe_family, within_family
from ssinfnet_jax.analysis.mediation.estimation.host import double_precision
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling
from ssinfnet_jax.analysis.mediation.outcome import binomial, natural_model
from ssinfnet_jax.analysis.mediation.outcome.natural_model import EFFECTS

_LARGEST_COUNT = 20  # whole numbers from 0 to this are counts
_ALWAYS = ["n", "flag", "mediator_model", "note", "from", "to"]  # columns of pairs that cannot be fitted, too


def natural_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    interaction: bool = False,
    link: str = "logit",
    level: float = 0.95,
    adjust: str = "fdr_bh",
    family: str = "all",
    min_n: int = 10,
) -> pd.DataFrame:
    """Estimates how the probability of the outcome changes when the exposure goes from one value to another.

    m = a0 + a x + e, e ~ N(0, s^2), and P(y = 1) = F(c0 + c x + b m + d x m), with covariates in both. A mediator with
    two values l < h is P(m = h) = F(a0 + a x) instead. With P(x, x') = E F(c0 + c x + b M(x') + d x M(x')), averaged
    over the mediator (in closed form for the probit, by the trapezoid rule for the logit) and the patients' covariates,
      indirect = P(to, to) - P(to, from)           (total natural indirect effect)
      direct   = P(to, from) - P(from, from)       (pure natural direct effect)
      total    = P(to, to) - P(from, from), the sum of both
      pure_indirect = P(from, to) - P(from, from), total_direct = P(to, to) - P(from, to), the other way to divide it.
    Standard errors follow by the delta method from the covariances of both regressions. For a category of an exposure
    (`C(stage)[T.2]`) the average is over the patients of this category and of the reference.

    Args:
      table, exposures, mediators, outcome, covariates, sampling, adjust, family, min_n: see univariate(); the outcome
        is 0 or 1.
      interaction: whether the exposure may change what the mediator does (d above); else d = 0.
      link: "logit" or "probit", of the outcome and of mediators with two values.
      level: of the intervals, estimate -+ z se.
    Returns: one row per pair in the order of univariate(): exposure, mediator, n, flag;
      - mediator_model: "linear", or the link where the mediator has two values; note: see mediator_shape.notes();
      - from, to: see contrast();
      - b_est, b_se, b_z, b_p: of m in the outcome's regression (log odds ratio per unit for the logit);
        b_std: per standard deviation of m; with an interaction all of these at the mean exposure;
      - interaction_est, _se, _z, _p: d, per unit of both; NaN without;
      - indirect_, direct_, total_, pure_indirect_, total_direct_: est, se, z, p, lower, upper; indirect_p_adj;
      - proportion_mediated, _lower, _upper: indirect / total, to be read only where both have one sign;
      - risk_ratio, risk_ratio_lower, risk_ratio_upper: P(to, to) / P(to, from), interval from its logarithm.
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError as univariate(), for an outcome that is not 0 or 1, or an unknown link.
    Source: Pearl 2001, arXiv:1301.2300; Imai, Keele and Tingley 2010, doi:10.1037/a0020761; VanderWeele and
      Vansteelandt 2010, doi:10.1093/aje/kwq332.
    """
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates)
    sampling, data = sampling.keep(data[outcome].notna().to_numpy()), data.dropna(subset=[outcome])
    _check_binary(data[outcome])
    contrasts = {name: contrast(data[name]) for name in exposures}
    blocks = []
    for names, pairs in pairing.blocks(data, exposures, mediators, outcome, covariates, min_n, sampling.weights):
        values = contrasts[names["exposure"].iloc[0]]
        blocks.append(names.join(fit(pairs, values, link, level, interaction=interaction, sampling=sampling)))
    result = pd.concat(blocks, ignore_index=True)
    result.insert(result.columns.get_loc("indirect_p") + 1, "indirect_p_adj", np.nan)
    result["indirect_p_adj"] = within_family(result, "indirect", adjust, family)
    result.attrs["family"] = describe_family(result, adjust, family)
    return result


def _check_binary(outcome: pd.Series) -> None:
    if not is_binary(outcome):
        raise ValueError(
            f"The outcome {outcome.name!r} must be 0 or 1 for natural effects, both present; it has the values "
            f"{np.unique(outcome)[:5].tolist()}."
        )


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


def fit(
    pairs: pairing.Pairs,
    values: tuple[float, float],
    link: str,
    level: float,
    *,
    interaction: bool = False,
    sampling: Sampling = INDEPENDENT,
) -> pd.DataFrame:
    """The columns of natural_effects() from `n` on, for K pairs that share a contrast (`values`) of the exposure."""
    binary = mediator_shape.is_binary(pairs)
    model, of_mediator = _of_outcome(pairs, link, interaction), of_mediators(pairs, binary, link)
    flag, df = flags(pairs, model.flag, of_mediator, sampling)
    x_sd, m_sd = pairs.sd[:, -3], pairs.sd[:, -2]
    with np.errstate(all="ignore"), double_precision():
        theta, covariance = natural_model.parameters(pairs, model, of_mediator, binary, flag == "", sampling)
        found, slopes = natural_model.effects(pairs, theta, binary, flag == "", values, link)
        se = np.sqrt(((slopes @ covariance) * slopes).sum(-1))
        result = {"n": pairs.n, "flag": flag, "mediator_model": np.where(binary, link, "linear")}
        result |= {"note": mediator_shape.notes(pairs), "from": values[0], "to": values[1]}
        for name, place, scale in (("b", -2, m_sd), ("interaction", -1, m_sd * x_sd)):
            est, its_se = theta.outcome[:, place] / scale, np.sqrt(covariance[:, place, place]) / scale
            result |= statistics(name, est, its_se, df)
        result["b_std"] = theta.outcome[:, -2]
        for i, effect in enumerate(EFFECTS):
            result |= statistics(effect, found[:, i], se[:, i], df, level)
        reach = stats.t.ppf((1 + level) / 2, df)[:, None] * se
        for place, name, scale in ((5, "risk_ratio", np.exp), (6, "proportion_mediated", np.positive)):
            for end, side in (("", 0), ("_lower", -1), ("_upper", 1)):
                result[f"{name}{end}"] = scale(found[:, place] + side * reach[:, place])
    table = pd.DataFrame(result)
    table.loc[flag != "", table.columns.difference(_ALWAYS)] = np.nan
    if not interaction:
        table[[f"interaction_{number}" for number in ("est", "se", "z", "p")]] = np.nan
    return table


def flags(
    pairs: pairing.Pairs, of_outcome: np.ndarray, of_mediator: binomial.Binomial, sampling: Sampling
) -> tuple[np.ndarray, np.ndarray]:
    """Why K pairs cannot be fitted, "" if they can; degrees of freedom of their tests.

    Args:
      of_outcome: object[K], the flags of the outcome's regression.
      of_mediator: see of_mediators().
    """
    df = sampled.df(sampling, pairs.complete)
    for_mediator = np.array([text.replace("the outcome", "the mediator") for text in of_mediator.flag], object)
    conditions = [pairs.flag != "", df < 1, of_outcome != "", mediator_shape.is_binary(pairs)]
    return np.select(conditions, [pairs.flag, sampled.ONE_CLUSTER, of_outcome, for_mediator], "").astype(object), df


def _of_outcome(pairs: pairing.Pairs, link: str, interaction: bool) -> binomial.Binomial:
    """The outcome's regression on [1, covariates, x, m, x m]; without interaction the last coefficient is a sure 0."""
    ones = pairs.complete[..., None].astype(float)
    product = pairs.z[..., -3:-2] * pairs.z[..., -2:-1]
    design = np.concatenate([ones, pairs.z[..., :-1], *([product] if interaction else [])], axis=-1)
    # Standardised, an outcome of 0 and 1 is negative and positive. Flagged pairs are all zeros: not fitted.
    model = binomial.fit(design, pairs.z[..., -1] > 0, pairs.weights * (pairs.flag == ""), link)
    if interaction:
        return model
    wider = [np.pad(model.coefficients, ((0, 0), (0, 1))), np.pad(model.covariance, ((0, 0), (0, 1), (0, 1)))]
    return binomial.Binomial(*wider, model.flag, np.pad(model.influence, ((0, 0), (0, 0), (0, 1))))


def of_mediators(pairs: pairing.Pairs, binary: np.ndarray, link: str) -> binomial.Binomial:
    """The regression on [1, covariates, x] of those of K mediators that have two values (`binary` bool[K])."""
    design = np.concatenate([pairs.complete[..., None].astype(float), pairs.z[..., :-2]], axis=-1)
    return binomial.fit(design, pairs.z[..., -2] > 0, pairs.weights * (pairs.flag == "") * binary, link)


def statistics(
    name: str, est: np.ndarray, se: np.ndarray, df: np.ndarray, level: float | None = None
) -> dict[str, np.ndarray]:
    """Columns `<name>_est, _se, _z, _p`, and with a level `_lower, _upper`."""
    z = est / se
    found = {f"{name}_est": est, f"{name}_se": se, f"{name}_z": z, f"{name}_p": 2 * stats.t.sf(np.abs(z), df)}
    if level is None:
        return found
    reach = stats.t.ppf((1 + level) / 2, df) * se
    return found | {f"{name}_lower": est - reach, f"{name}_upper": est + reach}

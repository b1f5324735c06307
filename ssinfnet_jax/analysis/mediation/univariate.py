"""One mediator at a time: does x act on y through m? For every pair of exposure and mediator at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns, influence, mediator_shape
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.estimation import elimination
from ssinfnet_jax.analysis.mediation.estimation import sampling as sampled
from ssinfnet_jax.analysis.mediation.estimation.adjust import describe_family, within_family
from ssinfnet_jax.analysis.mediation.estimation.sampling import INDEPENDENT, Sampling

EFFECTS = ("a", "b", "direct", "indirect", "total")
_SIDES = {"a": "mx", "b": "ym", "direct": "yx", "indirect": "yx", "total": "yx"}  # in the regression, left and right


def univariate(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
    sampling: Sampling = INDEPENDENT,
    alpha: float = 0.05,
    adjust: str = "fdr_bh",
    family: str = "all",
    min_n: int = 10,
) -> pd.DataFrame:
    """Fits m = a x + e, y = c x + b m + e' for every exposure x and mediator m, by ML as lavaan does.

    With all variables standardised and r their correlations (divisor n):
      a = r_xm,   b = (r_my - r_xm r_xy) / (1 - r_xm^2),   c = (r_xy - r_xm r_my) / (1 - r_xm^2)
      var a = (1 - r_xm^2) / n,   s^2 = 1 - c r_xy - b r_my
      var b = var c = s^2 / (n (1 - r_xm^2)),   cov(b, c) = -r_xm var b
      var ab = b^2 var a + a^2 var b,   var(c + ab) = var ab + var c + 2 a cov(b, c)      (delta method)
    Standard deviations give the units; z and p are normal. With covariates, which are in both equations, r are
    partial correlations and the standard deviations those of the residuals (Frisch and Waugh). Each pair uses the
    rows without missing values in x, m, y and the covariates.

    Args:
      table: one row per patient; numeric columns.
      exposures, mediators, outcome: column names. See natural_effects() for models of a binary outcome.
      covariates: columns adjusted for in every model, beside the other categories of a category (`C(stage)[T.2]`).
      sampling: of the rows of `table`. With clusters, weights or `robust` all standard errors are those of
        sampling.variance(), with t tests of clusters - 1 degrees of freedom where there are clusters.
      alpha: level of both `is_mediator` columns.
      adjust: see adjust().
      family: "all", p values are adjusted over all rows of the result, or "exposure", over the rows of each
        exposure; rows of the same test count once.
      min_n: pairs with fewer complete rows are flagged, not fitted.
    Returns: one row per pair, exposures outermost:
      - exposure, mediator, n (complete rows);
      - for a (m~x), b (y~m given x), direct (c, y~x given m), indirect (ab), total (c + ab): `_est`, `_se`,
        `_z`, `_p`, `_std` (both variables standardised); `indirect_p_adj`;
      - flag: "" or why the row has no estimates, such as a constant column, collinearity, an exact fit;
      - is_mediator: indirect_p_adj < alpha;
      - proportion_mediated, _lower, _upper (95 %, delta method): indirect / total, to be read only where both have one
        sign;
      - the three ordinary regressions of the paper on the same rows (t tests): lm_total_ (y~x: est, se, p,
        p_adj), lm_a_ (m~x) and lm_b_ (m in y~x+m): se, p, p_adj; is_mediator_paper: all three p_adj < alpha
        and |total| > |direct|;
      - partial_r: correlation of m and y given x and the covariates;
      - note: of mediators that are far from normal, see mediator_shape.notes().
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError for missing or non-numeric columns, a column with two roles, unknown adjust or family.
    Source: the paper, eq. 14; MacKinnon 2008, Introduction to Statistical Mediation Analysis; Sobel 1982
      (delta method); Rosseel 2012, doi:10.18637/jss.v048.i02 (lavaan).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}.")
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates)
    blocks = pairing.blocks(data, exposures, mediators, outcome, covariates, min_n, sampling.weights)
    result = pd.concat([names.join(fit(pairs, sampling)) for names, pairs in blocks], ignore_index=True)

    return _with_tests(result, alpha, adjust, family)[_COLUMNS]


def _with_tests(result: pd.DataFrame, alpha: float, adjust: str, family: str) -> pd.DataFrame:
    """With adjusted p values, and by both rules whether a pair is a mediator."""
    result = result.assign(lm_a_est=result["a_est"], lm_b_est=result["b_est"])
    for name in ("indirect", "lm_total", "lm_a", "lm_b"):
        result[f"{name}_p_adj"] = within_family(result, name, adjust, family)
    result["is_mediator"] = result["indirect_p_adj"] < alpha
    result["is_mediator_paper"] = (result[["lm_total_p_adj", "lm_a_p_adj", "lm_b_p_adj"]] < alpha).all(axis=1) & (
        result["lm_total_est"].abs() > result["direct_est"].abs()
    )
    result.attrs["family"] = describe_family(result, adjust, family)
    return result


_COLUMNS = [
    *("exposure", "mediator", "n"),
    *(f"{effect}_{number}" for effect in EFFECTS for number in ("est", "se", "z", "p", "std")),
    *("indirect_p_adj", "flag", "is_mediator", "is_mediator_paper"),
    *("proportion_mediated", "proportion_mediated_lower", "proportion_mediated_upper"),
    *("lm_total_est", "lm_total_se", "lm_total_p", "lm_total_p_adj"),
    *(f"lm_{effect}_{number}" for effect in "ab" for number in ("se", "p", "p_adj")),
    "partial_r",
    "note",
]


def fit(pairs: pairing.Pairs, sampling: Sampling = INDEPENDENT) -> pd.DataFrame:
    """Estimates of univariate() for each of K pairs: [K] rows, NaN where a pair has a flag."""
    n, num_covariates = pairs.n, pairs.sd.shape[1] - 3
    with np.errstate(all="ignore"):
        moments = elimination.sweep(pairs.correlations(), num_covariates)
        spread = np.sqrt(np.diagonal(moments, axis1=1, axis2=2))
        sd = dict(zip("xmy", (pairs.sd[:, -3:] * spread).T, strict=True))
        whole = dict(zip("xmy", pairs.sd[:, -3:].T, strict=True))
        r_xm, r_xy, r_my = (moments[:, i, j] / (spread[:, i] * spread[:, j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        unexplained = 1 - r_xm**2
        a, b, c = r_xm, (r_my - r_xm * r_xy) / unexplained, (r_xy - r_xm * r_my) / unexplained
        values = {"a": a, "b": b, "direct": c, "indirect": a * b, "total": r_xy}
        if sampling.is_plain:
            variances, df = _of_model(values, r_my, n), np.full(len(n), np.inf)
        else:
            variances = _of_patients(pairs, values, spread, sampling)
            df = sampled.df(sampling, pairs.complete)
        result = {"n": n}
        for effect in EFFECTS:
            left, right = _SIDES[effect]
            value, scale, se = values[effect], sd[left] / sd[right], np.sqrt(variances[effect])
            z = value / se
            result |= {f"{effect}_est": value * scale, f"{effect}_se": se * scale, f"{effect}_z": z}
            result |= {f"{effect}_p": 2 * stats.t.sf(abs(z), df)}
            result |= {f"{effect}_std": value * scale * whole[right] / whole[left]}
        result["partial_r"] = b * np.sqrt(unexplained / (1 - r_xy**2))
        share = a * b / r_xy
        result["proportion_mediated"] = share
        reach = stats.t.ppf(0.975, df) * np.sqrt(variances["share"])
        result |= {"proportion_mediated_lower": share - reach, "proportion_mediated_upper": share + reach}
        for name, effect, num_regressors in (("total", "total", 2), ("a", "a", 2), ("b", "b", 3)):
            left, right = _SIDES[effect]
            of_lm = n - num_regressors - num_covariates
            # The unbiased residual variance instead of the ML one; clusters have their own correction.
            se = np.sqrt(variances[effect] * (1 if sampling.clusters is not None else n / of_lm))
            p = 2 * stats.t.sf(abs(values[effect] / se), of_lm if sampling.clusters is None else df)
            result |= {f"lm_{name}_se": se * sd[left] / sd[right], f"lm_{name}_p": p}
        result["lm_total_est"] = r_xy * sd["y"] / sd["x"]
    rows = pd.DataFrame(result)
    flag = np.select([pairs.flag != "", df < 1], [pairs.flag, sampled.ONE_CLUSTER], default="").astype(object)
    rows.loc[flag != "", rows.columns != "n"] = np.nan
    return rows.assign(flag=flag, note=mediator_shape.notes(pairs))


def _of_model(values: dict[str, np.ndarray], r_my: np.ndarray, n: np.ndarray) -> dict[str, np.ndarray]:
    """Variances of the effects, and of the share that is mediated, by the formulas of univariate()."""
    a, b, c, total = (values[name] for name in ("a", "b", "direct", "total"))
    unexplained = 1 - a**2
    var_a, var_b = unexplained / n, (1 - c * total - b * r_my) / (n * unexplained)
    var_ab, cov_ab_c = b**2 * var_a + a**2 * var_b, -(a**2) * var_b
    # d(ab / (c + ab)) = (c d(ab) - ab dc) / (c + ab)^2
    of_share = (c**2 * var_ab + (a * b) ** 2 * var_b - 2 * a * b * c * cov_ab_c) / total**4
    of_total = var_ab + var_b + 2 * cov_ab_c
    return {"a": var_a, "b": var_b, "direct": var_b, "indirect": var_ab, "total": of_total, "share": of_share}


def _of_patients(
    pairs: pairing.Pairs, values: dict[str, np.ndarray], spread: np.ndarray, sampling: Sampling
) -> dict[str, np.ndarray]:
    """The same, as sandwiches; of variables in units of their residuals' `spread` given the covariates [K, 3]."""
    moved = influence.of_effects(pairs)
    spread = dict(zip("xmy", spread.T, strict=True))
    found = {}
    for effect in EFFECTS:
        left, right = _SIDES[effect]
        found[effect] = sampled.variance(moved[effect], sampling, pairs.complete) * (spread[right] / spread[left]) ** 2
    share = values["indirect"] / values["total"]
    of_share = (moved["indirect"] - share * moved["total"]) * spread["x"] / spread["y"] / values["total"]
    return found | {"share": sampled.variance(of_share, sampling, pairs.complete)}

"""One mediator at a time: does x act on y through m? For every pair of exposure and mediator at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns, mediator_shape
from ssinfnet_jax.analysis.mediation import pairs as pairing
from ssinfnet_jax.analysis.mediation.adjust import describe_family, within_family

_NORMAL_95 = stats.norm.ppf(0.975)
EFFECTS = ("a", "b", "direct", "indirect", "total")


def univariate(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
    covariates: Sequence[str] = (),
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
    Estimates and standard errors follow by the standard deviations; z and p are normal. With covariates,
    which then stand in both equations, r are partial correlations given them and the standard deviations
    those of the residuals (Frisch and Waugh). Rows with a missing value in x, m, y or a covariate are left
    out, pair by pair.

    Args:
      table: one row per patient; numeric columns.
      exposures, mediators, outcome: column names. The linear model of a binary outcome is the paper's; see
        natural_effects() for others.
      covariates: columns held fixed in every model.
      alpha: level of both `is_mediator` columns.
      adjust: see adjust().
      family: "all", p values are adjusted over all rows of the result, or "exposure", over the rows of each
        exposure; rows that hold the same test count once. The paper does not say which.
      min_n: pairs with fewer complete rows are flagged, not fitted.
    Returns: one row per pair, exposures outermost:
      - exposure, mediator, n (complete rows);
      - for a (m~x), b (y~m given x), direct (c, y~x given m), indirect (ab), total (c + ab): `_est`, `_se`,
        `_z`, `_p`, `_std` (both variables standardised); `indirect_p_adj`;
      - flag: "" or why the row has no estimates: too few rows, a constant or infinite column, collinearity,
        an exact fit;
      - is_mediator: indirect_p_adj < alpha;
      - proportion_mediated, and _lower, _upper of its 95 % interval (delta method): indirect / total, which means
        something only where both have one sign and the total effect is clear of 0;
      - the three ordinary regressions of the paper on the same rows (t tests): lm_total_ (y~x: est, se, p,
        p_adj), lm_a_ (m~x) and lm_b_ (m in y~x+m): se, p, p_adj; is_mediator_paper: all three p_adj < alpha
        and |total| > |direct|;
      - note: of mediators that are far from normal, see mediator_shape.notes().
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError for missing or non-numeric columns, a column with two roles, unknown adjust or family.
    Source: the paper, eq. 14; MacKinnon 2008, Introduction to Statistical Mediation Analysis; Sobel 1982
      (delta method); Rosseel 2012, doi:10.18637/jss.v048.i02 (lavaan).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}.")
    data = columns.of_pairs(table, exposures, mediators, outcome, covariates)
    blocks = pairing.blocks(data, exposures, mediators, outcome, covariates, min_n)
    result = pd.concat([names.join(fit(pairs)) for names, pairs in blocks], ignore_index=True)

    result = result.assign(lm_a_est=result["a_est"], lm_b_est=result["b_est"])
    for name in ("indirect", "lm_total", "lm_a", "lm_b"):
        result[f"{name}_p_adj"] = within_family(result, name, adjust, family)
    result["is_mediator"] = result["indirect_p_adj"] < alpha
    result["is_mediator_paper"] = (result[["lm_total_p_adj", "lm_a_p_adj", "lm_b_p_adj"]] < alpha).all(axis=1) & (
        result["lm_total_est"].abs() > result["direct_est"].abs()
    )
    result.attrs["family"] = describe_family(result, adjust, family)
    return result[_COLUMNS]


_COLUMNS = [
    *("exposure", "mediator", "n"),
    *(f"{effect}_{number}" for effect in EFFECTS for number in ("est", "se", "z", "p", "std")),
    *("indirect_p_adj", "flag", "is_mediator", "is_mediator_paper"),
    *("proportion_mediated", "proportion_mediated_lower", "proportion_mediated_upper"),
    *("lm_total_est", "lm_total_se", "lm_total_p", "lm_total_p_adj"),
    *(f"lm_{effect}_{number}" for effect in "ab" for number in ("se", "p", "p_adj")),
    "note",
]


def fit(pairs: pairing.Pairs) -> pd.DataFrame:
    """Estimates of univariate() for each of K pairs: [K] rows, NaN where a pair has a flag."""
    n, num_covariates = pairs.n, pairs.sd.shape[1] - 3
    with np.errstate(all="ignore"):
        moments = pairing.sweep(pairs.correlations(), num_covariates)
        spread = np.sqrt(np.diagonal(moments, axis1=1, axis2=2))
        sd = dict(zip("xmy", (pairs.sd[:, -3:] * spread).T, strict=True))
        whole = dict(zip("xmy", pairs.sd[:, -3:].T, strict=True))
        r_xm, r_xy, r_my = (moments[:, i, j] / (spread[:, i] * spread[:, j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        unexplained = 1 - r_xm**2
        a, b, c = r_xm, (r_my - r_xm * r_xy) / unexplained, (r_xy - r_xm * r_my) / unexplained
        residual = 1 - c * r_xy - b * r_my
        var_a, var_b = unexplained / n, residual / (n * unexplained)
        var_ab = b**2 * var_a + a**2 * var_b
        result = {"n": n}
        for effect, value, variance, (left, right) in (
            ("a", a, var_a, "mx"),
            ("b", b, var_b, "ym"),
            ("direct", c, var_b, "yx"),
            ("indirect", a * b, var_ab, "yx"),
            ("total", c + a * b, var_ab + var_b - 2 * a * r_xm * var_b, "yx"),
        ):
            scale, se = sd[left] / sd[right], np.sqrt(variance)
            z = value / se
            result |= {f"{effect}_est": value * scale, f"{effect}_se": se * scale, f"{effect}_z": z}
            result |= {f"{effect}_p": 2 * stats.norm.sf(abs(z))}
            result |= {f"{effect}_std": value * scale * whole[right] / whole[left]}
        total = c + a * b
        result["proportion_mediated"] = a * b / total
        # d(ab / (c + ab)) = (c d(ab) - ab dc) / (c + ab)^2
        cov_ab_c = -a * r_xm * var_b
        var_share = (c**2 * var_ab + (a * b) ** 2 * var_b - 2 * a * b * c * cov_ab_c) / total**4
        for side, name in ((-1, "lower"), (1, "upper")):
            result[f"proportion_mediated_{name}"] = a * b / total + side * _NORMAL_95 * np.sqrt(var_share)
        result["lm_total_est"] = r_xy * sd["y"] / sd["x"]
        for name, value, variance, scale, num_regressors in (
            ("lm_total", r_xy, (1 - r_xy**2) / n, sd["y"] / sd["x"], 2),
            ("lm_a", a, var_a, sd["m"] / sd["x"], 2),
            ("lm_b", b, var_b, sd["y"] / sd["m"], 3),
        ):
            df = n - num_regressors - num_covariates
            se = np.sqrt(variance * n / df)  # the unbiased residual variance instead of the ML one
            result |= {f"{name}_se": se * scale, f"{name}_p": 2 * stats.t.sf(abs(value / se), df)}
    rows = pd.DataFrame(result)
    rows.loc[pairs.flag != "", rows.columns != "n"] = np.nan
    return rows.assign(flag=pairs.flag, note=mediator_shape.notes(pairs))

"""One mediator at a time: does x act on y through m? For every pair of exposure and mediator at once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ssinfnet_jax.analysis.mediation import columns
from ssinfnet_jax.analysis.mediation.adjust import adjust as adjust_p

EFFECTS = ("a", "b", "direct", "indirect", "total")
FAMILIES = ("all", "exposure")
# Relative to the values themselves: below this, what varies is rounding.
_CONSTANT = 1e-10
_COLLINEAR = 1e-10


def univariate(
    table: pd.DataFrame,
    exposures: Sequence[str],
    mediators: Sequence[str],
    outcome: str = "severity",
    *,
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
    Estimates and standard errors follow by the standard deviations; z and p are normal. Rows with a missing
    value in x, m or y are left out, pair by pair.

    Args:
      table: one row per patient; numeric columns.
      exposures, mediators, outcome: column names. The linear model of a binary outcome is the paper's.
      alpha: level of both `is_mediator` columns.
      adjust: see adjust().
      family: "all", p values are adjusted over all rows of the result, or "exposure", over the rows of each
        exposure. The paper does not say which.
      min_n: pairs with fewer complete rows are flagged, not fitted.
    Returns: one row per pair, exposures outermost:
      - exposure, mediator, n (complete rows);
      - for a (m~x), b (y~m given x), direct (c, y~x given m), indirect (ab), total (c + ab): `_est`, `_se`,
        `_z`, `_p`, `_std` (both variables standardised); `indirect_p_adj`;
      - flag: "" or why the row has no estimates: too few rows, a constant or infinite column, collinearity,
        an exact fit;
      - is_mediator: indirect_p_adj < alpha; proportion_mediated: indirect / total, meaningless for opposite
        signs;
      - the three ordinary regressions of the paper on the same rows (t tests): lm_total_ (y~x: est, se, p,
        p_adj), lm_a_ (m~x) and lm_b_ (m in y~x+m): se, p, p_adj; is_mediator_paper: all three p_adj < alpha
        and |total| > |direct|.
      `attrs["family"]` states the family of tests in words.
    Raises: ValueError for missing or non-numeric columns, a column with two roles, unknown adjust or family.
    Source: the paper, eq. 14; MacKinnon 2008, Introduction to Statistical Mediation Analysis; Sobel 1982
      (delta method); Rosseel 2012, doi:10.18637/jss.v048.i02 (lavaan).
    """
    exposures, mediators = list(exposures), list(mediators)
    if not exposures or not mediators:
        raise ValueError("Name at least one exposure and one mediator.")
    if family not in FAMILIES:
        raise ValueError(f"Unknown family {family!r}; choose one of {', '.join(FAMILIES)}.")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha}.")
    data = columns.numeric(table, [*exposures, *mediators, outcome])
    y, m = data[outcome].to_numpy(), data[mediators].to_numpy()
    results = []
    for exposure in exposures:
        rows = _fit(data[exposure].to_numpy(), m, y, max(min_n, 4))
        rows.insert(0, "exposure", exposure)
        rows.insert(1, "mediator", mediators)
        results.append(rows)
    result = pd.concat(results, ignore_index=True)

    groups = result.groupby("exposure", sort=False).groups.values() if family == "exposure" else [result.index]
    for name in ("indirect", "lm_total", "lm_a", "lm_b"):
        for group in groups:
            result.loc[group, f"{name}_p_adj"] = adjust_p(result.loc[group, f"{name}_p"].to_numpy(), adjust)
    result["is_mediator"] = result["indirect_p_adj"] < alpha
    result["is_mediator_paper"] = (result[["lm_total_p_adj", "lm_a_p_adj", "lm_b_p_adj"]] < alpha).all(axis=1) & (
        result["lm_total_est"].abs() > result["direct_est"].abs()
    )
    result.attrs["family"] = _family(result, exposures, mediators, adjust, family)
    return result[_COLUMNS]


_COLUMNS = [
    *("exposure", "mediator", "n"),
    *(f"{effect}_{number}" for effect in EFFECTS for number in ("est", "se", "z", "p", "std")),
    *("indirect_p_adj", "flag", "is_mediator", "is_mediator_paper", "proportion_mediated"),
    *("lm_total_est", "lm_total_se", "lm_total_p", "lm_total_p_adj"),
    *(f"lm_{effect}_{number}" for effect in "ab" for number in ("se", "p", "p_adj")),
]


def _fit(x: np.ndarray, m: np.ndarray, y: np.ndarray, min_n: int) -> pd.DataFrame:
    """All mediators m[rows, k] of one exposure."""
    x, y = np.broadcast_to(x[:, None], m.shape), np.broadcast_to(y[:, None], m.shape)
    complete = ~(np.isnan(x) | np.isnan(m) | np.isnan(y))
    n = complete.sum(0)
    with np.errstate(all="ignore"):
        (x, sd_x), (m, sd_m), (y, sd_y) = (_standardise(values, complete, n) for values in (x, m, y))
        r_xm, r_xy, r_my = ((u * v).sum(0) / n for u, v in ((x, m), (x, y), (m, y)))
        unexplained = 1 - r_xm**2
        a, b, c = r_xm, (r_my - r_xm * r_xy) / unexplained, (r_xy - r_xm * r_my) / unexplained
        residual = 1 - c * r_xy - b * r_my
        var_a, var_b = unexplained / n, residual / (n * unexplained)
        var_ab = b**2 * var_a + a**2 * var_b
        variances = {
            "a": (a, var_a, sd_m / sd_x),
            "b": (b, var_b, sd_y / sd_m),
            "direct": (c, var_b, sd_y / sd_x),
            "indirect": (a * b, var_ab, sd_y / sd_x),
            "total": (c + a * b, var_ab + var_b - 2 * a * r_xm * var_b, sd_y / sd_x),
        }
        result = {}
        for effect, (std, variance, scale) in variances.items():
            se = np.sqrt(variance)
            z = std / se
            result[f"{effect}_est"], result[f"{effect}_se"] = std * scale, se * scale
            result[f"{effect}_z"], result[f"{effect}_p"], result[f"{effect}_std"] = (
                z,
                2 * stats.norm.sf(abs(z)),
                std,
            )
        result["proportion_mediated"] = a * b / (c + a * b)
        result["lm_total_est"] = r_xy * sd_y / sd_x
        for name, std, variance, scale, df in (
            ("lm_total", r_xy, (1 - r_xy**2) / n, sd_y / sd_x, n - 2),
            ("lm_a", a, var_a, sd_m / sd_x, n - 2),
            ("lm_b", b, var_b, sd_y / sd_m, n - 3),
        ):
            se = np.sqrt(variance * n / df)  # the unbiased residual variance instead of the ML one
            result[f"{name}_se"], result[f"{name}_p"] = se * scale, 2 * stats.t.sf(abs(std / se), df)
    flag = _flags(n, min_n, {"exposure": sd_x, "mediator": sd_m, "outcome": sd_y}, unexplained, residual)
    rows = pd.DataFrame(result)
    rows.loc[flag != ""] = np.nan
    rows.insert(0, "n", n)
    rows["flag"] = flag
    return rows


def _standardise(values: np.ndarray, complete: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(v - mean) / sd over the complete rows, 0 elsewhere; and sd, 0 for constants, inf for infinities."""
    mean = np.where(complete, values, 0.0).sum(0) / n
    deviation = np.where(complete, values - mean, 0.0)
    sd = np.sqrt((deviation**2).sum(0) / n)
    sd = np.where(sd <= _CONSTANT * np.abs(mean), 0.0, sd)
    infinite = (complete & np.isinf(values)).any(0)
    return deviation / sd, np.where(infinite, np.inf, sd)


def _flags(n, min_n, sds, unexplained, residual) -> np.ndarray:
    """Reasons against a fit; the first that applies."""
    conditions = [n < min_n]
    reasons = [np.array([f"too few complete rows ({count} < {min_n})" for count in n], dtype=object)]
    for problem, is_it in (("infinite", np.isinf), ("constant", lambda sd: sd == 0)):
        for role, sd in sds.items():
            conditions.append(is_it(sd))
            reasons.append(np.full(len(n), f"{problem} {role}", dtype=object))
    conditions += [~(unexplained > _COLLINEAR), ~(residual > _COLLINEAR)]
    reasons += [np.full(len(n), "exposure and mediator are collinear", dtype=object)]
    reasons += [np.full(len(n), "outcome is fitted exactly", dtype=object)]
    return np.select(conditions, reasons, default="")


def _family(result, exposures, mediators, adjust, family) -> str:
    tested = int((result["flag"] == "").sum())
    scope = "all pairs together" if family == "all" else "the pairs of each exposure by themselves"
    return (
        f"{adjust} over {scope}: {tested} tests of {len(exposures)} exposures x {len(mediators)} mediators "
        f"({len(result) - tested} flagged and not tested)"
    )

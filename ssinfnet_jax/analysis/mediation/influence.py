"""Influence of each patient on the effects of one mediator, for sandwich errors of linear models."""

import numpy as np

from ssinfnet_jax.analysis.mediation.pairs import Pairs


def of_effects(pairs: Pairs) -> dict[str, np.ndarray]:
    """Influence of N patients on the effects of K pairs, all variables standardised.

    A coefficient of x in a regression moves by w_i x_i e_i / sum w x^2, with x the residual on the other regressors and
    e that of the regression. Since indirect = total - direct, so does its influence.

    Returns: a, b, direct, indirect, total: float[N, K]; their sums of squares are the variances.
    """
    left = pairs.sd.shape[1] - 3
    r = np.where((pairs.flag == "")[:, None, None], pairs.correlations(), np.eye(left + 3))
    others = list(range(left))

    def residual(of: int, on: list[int]) -> np.ndarray:
        slopes = np.linalg.solve(r[:, on][:, :, on], r[:, on, of, None])[..., 0]
        return pairs.z[..., of] - (pairs.z[..., on] * slopes).sum(-1)

    def moved(regressor: np.ndarray, error: np.ndarray) -> np.ndarray:
        return pairs.weights * regressor * error / (pairs.weights * regressor**2).sum(0)

    x_alone, m_alone = residual(left, others), residual(left + 1, [*others, left])
    of_y = residual(left + 2, [*others, left, left + 1])
    with np.errstate(all="ignore"):
        total = moved(x_alone, residual(left + 2, [*others, left]))
        direct = moved(residual(left, [*others, left + 1]), of_y)
        return {
            "a": moved(x_alone, m_alone),
            "b": moved(m_alone, of_y),
            "direct": direct,
            "indirect": total - direct,
            "total": total,
        }

"""Segmentation losses: functions of logits and targets that return one value per slice.

`ignore`, in all of them, is float[B, H, W], 1 at pixels that do not count, or None; the value is over all other pixels.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from ssinfnet_jax.config import NotNegative, Positive, Range
from ssinfnet_jax.models.ops import box_mean, pixel_sum


def bce(logits: jax.Array, target: jax.Array, *, ignore: jax.Array | None = None) -> jax.Array:
    """Binary cross-entropy, mean over pixels and classes.

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1].
    Returns: float[B], nats per pixel and class.
    Raises: ValueError for unequal shapes.
    Source: the paper, eq. 6.
    """
    _check_shapes(logits, target)
    return _pixel_mean(_bce_map(logits, target), ignore)


def contour_bce(logits: jax.Array, target: jax.Array, *, ignore: jax.Array | None = None) -> jax.Array:
    """Binary cross-entropy against the contour of the target, for a map of edges.

    Neighbours of ignored pixels do not count either, since they may or may not be on a contour.

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1]; above 1/2 is inside.
    Returns: float[B], nats per pixel and class.
    Raises: ValueError for unequal shapes.
    Source: Fan et al. 2020, eq. 1.
    """
    if ignore is not None:
        unknown = ignore[..., None] > 0
        ignore = (unknown | _contour(unknown))[..., 0]
    return bce(logits, _contour(target > 0.5).astype(logits.dtype), ignore=ignore)


def focal(
    logits: jax.Array,
    target: jax.Array,
    *,
    gamma: NotNegative = 2.0,
    alpha: NotNegative | tuple[NotNegative, ...] = 1.0,
    ignore: jax.Array | None = None,
) -> jax.Array:
    """Mean over pixels and classes of -alpha_t (1 - p_t)^gamma log p_t, each class against the rest.

    The modulator falls to 0 for confident, correct pixels even with smoothed targets, so smoothing has little effect.

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1].
      gamma: >= 0; 0 gives cross-entropy.
      alpha: weight per class, scalar or [C]; the same for pixels of the class and of the rest.
        Differs from Lin et al., whose alpha_t is alpha for positive pixels and 1 - alpha for negative ones.
    Returns: float[B], nats per pixel and class.
    Raises: ValueError for unequal shapes, gamma < 0, or a number of weights other than C.
    Source: Lin et al. 2017, arXiv:1708.02002, eq. 5; the paper's eq. 7.
    """
    _check_shapes(logits, target)
    if gamma < 0:
        raise ValueError(f"focal: gamma must be >= 0, found {gamma}.")
    if np.ndim(alpha) and np.shape(alpha) != logits.shape[-1:]:
        raise ValueError(
            f"focal: alpha must be one weight, or one for each of the {logits.shape[-1]} classes; found {alpha}."
        )
    cross_entropy = _bce_map(logits, target)
    # log(1 - p_t) from logits, so that the power is exp(gamma log(1 - p_t)): for gamma < 1 its gradient stays finite at
    # saturation, unlike the gradient of x**gamma at 0.
    signed = logits * (2 * target - 1)
    modulator = jnp.exp(gamma * jax.nn.log_sigmoid(-signed))
    weight = jnp.asarray(alpha, logits.dtype).reshape(1, 1, 1, -1)
    return _pixel_mean(weight * modulator * cross_entropy, ignore)


def weighted_iou_bce(
    logits: jax.Array,
    target: jax.Array,
    *,
    bce_weight: NotNegative = 1.0,
    window: Annotated[int, Range("[1, inf)", 31)] = 31,
    unweighted_bce: bool = False,
    ignore: jax.Array | None = None,
) -> jax.Array:
    """Weighted IoU loss plus weighted cross-entropy, mean over classes; pixels near borders weigh up to six times more.

    w = 1 + 5 |mean_31x31(target) - target|;  L = 1 - (sum w p t + 1) / (sum w (p + t - p t) + 1) + bce_weight *
    sum(w bce) / sum(w).

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1].
      bce_weight: lambda of the paper's eq. 4.
      window: side of the window of the mean, odd; zero padded, always divided by window^2.
      unweighted_bce: averages the cross-entropy before weighting it, so that w cancels, as in the published code.
    Returns: float[B].
    Raises: ValueError for unequal shapes or an even window.
    Source: Fan et al. 2020, eqs. 5-6; Wei et al. 2020 (F3Net); the paper, eq. 4.
    """
    _check_shapes(logits, target)
    if window < 1 or window % 2 == 0:
        raise ValueError(f"weighted_iou_bce: window must be odd, found {window}.")
    target = _counted(target, ignore)
    weight = _counted(1 + 5 * jnp.abs(box_mean(target, window) - target), ignore)
    cross_entropy = _bce_map(logits, target)
    if unweighted_bce:
        cross_entropy = _pixel_mean(cross_entropy, ignore)
    else:
        total = pixel_sum(weight) if ignore is None else jnp.maximum(pixel_sum(weight), 1.0)
        cross_entropy = (pixel_sum(weight * cross_entropy) / total).mean(axis=-1)
    probs = jax.nn.sigmoid(logits)
    intersection = pixel_sum(weight * probs * target)
    total = pixel_sum(weight * (probs + target))
    iou = (1 - (intersection + 1) / (total - intersection + 1)).mean(axis=-1)
    return iou + bce_weight * cross_entropy


def dice(logits: jax.Array, target: jax.Array, *, smooth: Positive = 1.0, ignore: jax.Array | None = None) -> jax.Array:
    """1 - (2 sum p t + smooth) / (sum p + sum t + smooth), mean over classes.

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1].
      smooth: > 0; an absent class that is not predicted then costs nothing.
    Returns: float[B] in [0, 1].
    Raises: ValueError for unequal shapes.
    Source: Milletari et al. 2016, arXiv:1606.04797 (without squares).
    """
    _check_shapes(logits, target)
    probs, target = _counted(jax.nn.sigmoid(logits), ignore), _counted(target, ignore)
    overlap = 2 * pixel_sum(probs * target) + smooth
    return (1 - overlap / (pixel_sum(probs) + pixel_sum(target) + smooth)).mean(axis=-1)


def tversky(
    logits: jax.Array,
    target: jax.Array,
    *,
    alpha: NotNegative = 0.3,
    beta: NotNegative = 0.7,
    smooth: Positive = 1.0,
    ignore: jax.Array | None = None,
) -> jax.Array:
    """1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth), mean over classes; alpha = beta = 1/2 is Dice.

    Args:
      logits: float[B, H, W, C], before any sigmoid.
      target: float[B, H, W, C] in [0, 1].
      alpha, beta: >= 0, weights of false positives and of false negatives; beta > alpha favours small lesions.
      smooth: > 0; an absent class that is not predicted then costs nothing.
    Returns: float[B] in [0, 1].
    Raises: ValueError for unequal shapes or a negative weight.
    Source: Salehi et al. 2017, arXiv:1706.05721, eq. 3.
    """
    _check_shapes(logits, target)
    if alpha < 0 or beta < 0:
        raise ValueError(f"tversky: alpha and beta must be >= 0, found {alpha} and {beta}.")
    probs, target = _counted(jax.nn.sigmoid(logits), ignore), _counted(target, ignore)
    hit = pixel_sum(probs * target) + smooth
    false_positive, false_negative = pixel_sum(probs * (1 - target)), pixel_sum((1 - probs) * target)
    return (1 - hit / (hit + alpha * false_positive + beta * false_negative)).mean(axis=-1)


def division(
    logits: jax.Array,
    target: jax.Array,
    *,
    dice_weight: NotNegative = 1.0,
    smooth: Positive = 1.0,
    ignore: jax.Array | None = None,
) -> jax.Array:
    """How the lesion is divided: cross-entropy plus Dice of GGO and consolidation, within the true lesion alone.

    Both are of the share that the joint decision (`networks.decision`) compares with a threshold,
    sigmoid(consolidation) / (sigmoid(GGO) + sigmoid(consolidation)). Background gets no gradient.

    Args:
      logits: float[B, H, W, 3] of background, GGO and consolidation.
      target: float[B, H, W, 3] in [0, 1].
      dice_weight: of 1 - Dice, mean over both classes; the cross-entropy is a mean over the lesion's pixels.
      smooth: > 0; an absent class that is not predicted then costs nothing, nor does a slice without lesion.
    Returns: float[B].
    Raises: ValueError for unequal shapes or another number of classes than 3.
    """
    _check_shapes(logits, target)
    if logits.shape[-1] != 3:
        raise ValueError(f"division: needs background, GGO and consolidation, found {logits.shape[-1]} classes.")
    both = _counted(target[..., 1:], ignore)
    lesion = both.sum(axis=-1, keepdims=True)
    logit = jax.nn.log_sigmoid(logits[..., 2:]) - jax.nn.log_sigmoid(logits[..., 1:2])  # of the share
    cross_entropy = pixel_sum(lesion * jax.nn.softplus(logit) - both[..., 1:] * logit)[:, 0]
    share = jax.nn.sigmoid(logit)
    probs = lesion * jnp.concatenate([1 - share, share], axis=-1)
    dices = (2 * pixel_sum(probs * both) + smooth) / (pixel_sum(probs) + pixel_sum(both) + smooth)
    return cross_entropy / (pixel_sum(lesion)[:, 0] + smooth) + dice_weight * (1 - dices).mean(axis=-1)


def _check_shapes(logits: jax.Array, target: jax.Array) -> None:
    if logits.shape != target.shape:
        raise ValueError(f"Logits and target differ in shape: {logits.shape} and {target.shape}.")


def _bce_map(logits: jax.Array, target: jax.Array) -> jax.Array:
    return jax.nn.softplus(logits) - logits * target


def _pixel_mean(x: jax.Array, ignore: jax.Array | None) -> jax.Array:
    """Mean over classes and the pixels that count: float[B,H,W,C] -> float[B]; 0 where none does."""
    if ignore is None:
        return pixel_sum(x).sum(axis=1) / (x.size // x.shape[0])
    num_counted = pixel_sum(_counted(jnp.ones_like(x), ignore)).sum(axis=1)
    return pixel_sum(_counted(x, ignore)).sum(axis=1) / jnp.maximum(num_counted, 1.0)


def _counted(x: jax.Array, ignore: jax.Array | None) -> jax.Array:
    """float[B,H,W,C], 0 where a pixel is ignored."""
    return x if ignore is None else jnp.where(ignore[..., None] > 0, 0.0, x)


def _contour(inside: jax.Array) -> jax.Array:
    """Pixels with a 4-neighbour on the other side of the border: bool[B,H,W,C] -> the same."""
    padded = jnp.pad(inside, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:, :-2, 1:-1] != inside) | (padded[:, 2:, 1:-1] != inside)
    return rows | (padded[:, 1:-1, :-2] != inside) | (padded[:, 1:-1, 2:] != inside)

"""Augmentation on the device, inside the jitted step; slice, labels and prior are transformed together.

Flips, quarter turns and scaling map rows to rows and columns to columns, or swap the two, so source coordinates per row
and per column suffice: images are interpolated by two products with band matrices, labels gathered at the nearest
pixel. Rotation and elastic deformation need source coordinates per pixel, and a gather.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.scipy import ndimage

from ssinfnet_jax.config import Augmentation

INTERPOLATED = ("image", "prior")  # bilinear; every other [H,W] is a label: nearest neighbour


# Draws per slice, uniform in [0, 1): one table compiles much faster than a call for each.
_DRAWS = (
    "flip_rows", "flip_columns", "swap", "size", "row_aspect", "column_aspect", "row_offset", "column_offset",
    "cut", "cut_height", "cut_width", "cut_top", "cut_left", "gamma", "contrast", "brightness", "noise",
    "angle", "elastic", "blur", "no_prior", "focus", "focus_class", "crop_top", "crop_left",
)  # fmt: skip


def augment(keys: jax.Array, batch: Mapping[str, jax.Array], options: Augmentation) -> dict[str, jax.Array]:
    """Draws one change per slice and applies it to all of the slice's arrays.

    Args:
      keys: key[B], one per slice.
      batch: `image` and `prior` float32[B,H,W] in [0,1], `lesion`, `classes` int[B,H,W], all square; arrays of other
        rank are returned unchanged.
      options: see `Augmentation`.
    Returns: the same keys, shapes (except for a crop) and dtypes.
    """
    batch = dict(batch)
    maps = {name: value for name, value in batch.items() if value.ndim == 3}
    draw_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    table = jax.vmap(lambda key: jax.random.uniform(key, len(_DRAWS)))(draw_keys)
    draws = dict(zip(_DRAWS, table.T, strict=True))
    draws["grid"] = jax.vmap(_draw_grid)(noise_keys) if options.elastic else jnp.zeros(len(keys))
    batch.update(jax.vmap(lambda one, drawn: _augment_one(one, drawn, options))(maps, draws))
    if options.noise:
        deviation = options.noise * draws["noise"][:, None, None]
        noise = jax.vmap(lambda key: jax.random.normal(key, batch["image"].shape[1:]))(noise_keys)
        batch["image"] = jnp.clip(batch["image"] + deviation * noise, 0, 1)
    if options.prior_dropout and "prior" in batch:
        dropped = (draws["no_prior"] < options.prior_dropout)[:, None, None]
        batch["prior"] = jnp.where(dropped, 0.5, batch["prior"])
    if options.crop < 1:
        maps = {name: batch[name] for name in maps}
        batch.update(jax.vmap(lambda one, drawn, key: _crop(one, drawn, key, options))(maps, draws, noise_keys))
    return batch


def _augment_one(
    maps: dict[str, jax.Array], drawn: dict[str, jax.Array], options: Augmentation
) -> dict[str, jax.Array]:
    height, width = maps["image"].shape
    rows, columns, swap = _coordinates(drawn, height, width, options)
    maps = {name: jnp.where(swap, value.T, value) for name, value in maps.items()}
    if options.rotation or options.elastic:
        moved = _warp(maps, _bent(drawn, rows, columns, options))
    else:
        moved = _resample(maps, rows, columns)
    if options.blur:
        moved["image"] = _blur(moved["image"], options.blur * drawn["blur"])
    moved["image"] = _relight(drawn, moved["image"], options)
    if options.cutout_probability:
        inside = _outside_cutout(drawn, height, width, options)
        moved = {name: value * inside.astype(value.dtype) for name, value in moved.items()}
    return moved


def _coordinates(drawn, height, width, options):
    """Source coordinates of every row and column, and whether the axes are swapped first."""
    flip_rows, flip_columns, swap = (drawn[name] < 0.5 for name in ("flip_rows", "flip_columns", "swap"))
    swap &= options.quarter_turns
    # A turn by 0, 90, 180 or 270 degrees is a swap and flips: one flip is free, it and the swap determine the other. A
    # mirror image adds a flip of either axis: with turns, up-down and left-right flips are equivalent.
    if options.quarter_turns and not (options.flip_left_right or options.flip_up_down):
        flip_rows = flip_columns ^ swap
    if not options.quarter_turns:
        flip_rows &= options.flip_up_down
        flip_columns &= options.flip_left_right
    low, high = options.scale
    size = low + (high - low) * drawn["size"]
    spread = 0.1 if high > low else 0.0
    coordinates = []
    for axis, length, flipped in (("row", height, flip_rows), ("column", width, flip_columns)):
        side = jnp.clip(size * (1 + spread * (drawn[f"{axis}_aspect"] - 0.5)), low, high)
        offset = drawn[f"{axis}_offset"] * (1 - side)
        position = (jnp.arange(length) + 0.5) / length
        position = jnp.where(flipped, 1 - position, position)
        coordinates.append((offset + position * side) * length - 0.5)
    return coordinates[0], coordinates[1], swap


def _resample(maps: dict[str, jax.Array], rows: jax.Array, columns: jax.Array) -> dict[str, jax.Array]:
    """Samples the maps at source coordinates float[H] of rows and float[W] of columns."""
    height, width = maps["image"].shape
    row_matrix, column_matrix = _linear(rows, height), _linear(columns, width)
    row_index = jnp.clip(jnp.round(rows), 0, height - 1).astype(jnp.int32)
    column_index = jnp.clip(jnp.round(columns), 0, width - 1).astype(jnp.int32)
    return {
        name: (row_matrix @ value @ column_matrix.T).astype(value.dtype)
        if name in INTERPOLATED
        else value[row_index][:, column_index]
        for name, value in maps.items()
    }


def _warp(maps: dict[str, jax.Array], coordinates: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
    """Samples the maps at source coordinates (row, column) of every pixel, float[H,W] each."""
    return {
        name: ndimage.map_coordinates(value, coordinates, order=int(name in INTERPOLATED), mode="nearest")
        for name, value in maps.items()
    }


def _bent(drawn, rows, columns, options) -> tuple[jax.Array, jax.Array]:
    """Source coordinates of every pixel: its row's and column's, rotated about the centre and displaced."""
    height, width = len(rows), len(columns)
    angle = jnp.deg2rad(options.rotation * (2 * drawn["angle"] - 1))
    down, right = rows[:, None] - (height - 1) / 2, columns[None, :] - (width - 1) / 2
    down, right = (
        jnp.cos(angle) * down - jnp.sin(angle) * right + (height - 1) / 2,
        jnp.sin(angle) * down + jnp.cos(angle) * right + (width - 1) / 2,
    )
    if options.elastic:
        points = drawn["grid"].shape[0]
        between = [_linear(jnp.linspace(0, points - 1, length), points) for length in (height, width)]
        field = options.elastic * drawn["elastic"] * jnp.einsum("hp,pqa,wq->ahw", between[0], drawn["grid"], between[1])
        down, right = down + height * field[0], right + width * field[1]
    return down, right


def _draw_grid(key: jax.Array) -> jax.Array:
    """Displacements (rows, columns) on a coarse grid, float[8,8,2] with standard deviation 1."""
    return jax.random.normal(jax.random.fold_in(key, 1), (8, 8, 2))


def _blur(image: jax.Array, deviation: jax.Array) -> jax.Array:
    """Gaussian blur with a standard deviation in pixels, normalised over the pixels inside the image."""

    def weights(length):
        distance = jnp.arange(length)[:, None] - jnp.arange(length)[None, :]
        weight = jnp.exp(-0.5 * jnp.square(distance / jnp.maximum(deviation, 1e-3)))
        return weight / weight.sum(axis=1, keepdims=True)

    return weights(image.shape[0]) @ image @ weights(image.shape[1]).T


def _linear(coordinate: jax.Array, length: int) -> jax.Array:
    """Matrix of linear interpolation at `coordinate` (clamped to the border): float32[len(coordinate), length]."""
    coordinate = jnp.clip(coordinate, 0, length - 1)
    return jnp.maximum(1 - jnp.abs(coordinate[:, None] - jnp.arange(length)[None, :]), 0)


def _crop(maps: dict[str, jax.Array], drawn, key: jax.Array, options: Augmentation) -> dict[str, jax.Array]:
    """A window of the maps, float or int[H,W] each."""
    height, width = maps["image"].shape
    size = [max(round(options.crop * length / 32), 1) * 32 for length in (height, width)]
    start = [
        (drawn[name] * (length - side + 1)).astype(jnp.int32)
        for name, length, side in zip(("crop_top", "crop_left"), (height, width), size, strict=True)
    ]
    label = maps.get("classes", maps.get("lesion"))
    if options.crop_focus and label is not None:
        present = jnp.stack([(label == 1).any(), (label == 2).any()])
        # A class that the slice has: the drawn one, or else the other.
        drawn_class = jnp.where(drawn["focus_class"] < 0.5, 1, 2)
        chosen = jnp.where(present[drawn_class - 1], drawn_class, 3 - drawn_class)
        score = jnp.where(label == chosen, jax.random.uniform(jax.random.fold_in(key, 2), label.shape), -1.0)
        centre = jnp.unravel_index(score.argmax(), label.shape)
        focused = present.any() & (drawn["focus"] < options.crop_focus)
        start = [
            jnp.where(focused, jnp.clip(place - side // 2, 0, length - side), first)
            for place, side, length, first in zip(centre, size, (height, width), start, strict=True)
        ]
    return {name: jax.lax.dynamic_slice(value, start, size) for name, value in maps.items()}


def _outside_cutout(drawn, height, width, options) -> jax.Array:
    """Mask bool[H,W], False inside the blackened rectangle."""
    cut = drawn["cut"] < options.cutout_probability
    for_each = []
    for side, start, length in (("cut_height", "cut_top", height), ("cut_width", "cut_left", width)):
        size = options.cutout_size * drawn[side]
        position = jnp.arange(length) / length - drawn[start] * (1 - size)
        for_each.append((position >= 0) & (position < size))
    return ~(cut & for_each[0][:, None] & for_each[1][None, :])


def _relight(drawn, image, options) -> jax.Array:
    """Gamma, contrast and brightness, clipped to [0, 1]."""

    def around_zero(name):
        return getattr(options, name) * (2 * drawn[name] - 1)

    if options.gamma:
        image = jnp.power(jnp.clip(image, 1e-6, 1), jnp.exp(around_zero("gamma")))
    if options.contrast or options.brightness:
        image = (image - image.mean()) * (1 + around_zero("contrast")) + image.mean() + around_zero("brightness")
    return jnp.clip(image, 0, 1)

"""A first pass over a scan: checks its values, and locates the lungs approximately."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ssinfnet_jax.data import ct, lung_region
from ssinfnet_jax.data.readers import scan as scans

AIR_LIMIT_HU = -500.0  # a chest CT contains air, at least in the lungs
_COARSE = 128  # largest side of reduced slices, pixels
_SMALL_LUNG = 0.1  # of the larger lung; smaller parts are bowel or a bronchus
_LEAST_AREA = 0.015  # of a slice, in at least one; less is bowel, or the rest of lungs cut by the frame
_GAS_HU = -970.0  # the median of lungs is higher, even with emphysema
_CLOSING_MM = 12.0  # closes over vessels and lesions at the border of the lung
_MIN_BODY_PX = 16  # reduced pixels; below that the view is not cropped
MARGIN = 0.04  # around the lungs, of the sides of a slice
_LUNG_HU, _TISSUE_HU = -860.0, 45.0  # typical
_DARK, _DIM = 110, 0.7  # grey of the brightest lung; soft tissue below this share of its grey has another window
_PEAK_REACH, _PEAK_SHARE = (
    12,
    0.12,
)  # a peak is a grey and 12 to each side, with 12 % of the pixels; evenly spread: 10 %
MAX_LABELS = 10  # a volume with at most this many values, all integers, is a label map


@dataclasses.dataclass(frozen=True)
class Survey:
    """Results of the first pass.

    Attributes:
      kind: "hu" | "uint8".
      low, high, mean: of the values, in their own unit; padding counts as air.
      other_window: of grey levels: what suggests that they were exported with another window; "" if nothing does.
      padding_hu: the one value below `ct.LEAST_HU` that marks unmeasured voxels, or None.
      lungs: bool[N,h,w], the approximate lungs, by thresholds and connected components in reduced slices. All False if
        none are found, and for pictures: these may be cropped to the lungs, so nothing separates the lungs from the
        air around the body.
      factors: reduction factor per slice.
      spacing_mm: of the slices, rows and columns of `lungs`; 0 if unknown.
      middle: column of `lungs` with half of the body on each side.
    """

    kind: str
    low: float
    high: float
    mean: float
    lungs: np.ndarray
    factors: np.ndarray
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    middle: int = 0
    padding_hu: float | None = None
    other_window: str = ""

    def without_padding(self, values: np.ndarray) -> np.ndarray:
        """Replaces padding and NaN in a slice with air."""
        return values if self.kind == "uint8" else np.where(values >= ct.LEAST_HU, values, scans.AIR_HU)

    @functools.cached_property
    def region(self) -> np.ndarray | None:
        """bool[N,h,w], where lesions can be (`lung_region.about_lungs`); None if no lungs were found."""
        return lung_region.about_lungs(self.lungs, self.middle, self.spacing_mm) if self.lungs.any() else None

    def lung_slice(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """Returns the lungs of a slice, bool of its own shape."""
        return self._enlarged(self.lungs, index, shape)

    def region_slice(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """Returns the `region` of a slice, bool of its own shape."""
        return self._enlarged(self.region, index, shape)

    def _enlarged(self, masks: np.ndarray, index: int, shape: tuple[int, int]) -> np.ndarray:
        factor = self.factors[index]
        enlarged = masks[index].repeat(factor, axis=0).repeat(factor, axis=1)
        out = np.zeros(shape, bool)
        rows, columns = (min(a, b) for a, b in zip(shape, enlarged.shape, strict=True))
        out[:rows, :columns] = enlarged[:rows, :columns]
        return out

    def box(self, shape: tuple[int, int], margin: float) -> tuple[slice, slice]:
        """Returns the rows and columns that hold the lungs of all slices, with a margin (fraction of the sides).

        Without lungs, returns all rows and columns.
        """
        found = []
        for axis, side in enumerate(shape):
            inside = np.flatnonzero(self.lungs.any(axis=(0, 2 - axis)))
            if len(inside) < _MIN_BODY_PX:
                return slice(0, shape[0]), slice(0, shape[1])
            factor, width = int(self.factors[0]), round(margin * side)
            found.append(slice(max(inside[0] * factor - width, 0), min((inside[-1] + 1) * factor + width, side)))
        return found[0], found[1]


def survey(scan: scans.Scan, input_kind: str | None, window_hu: tuple[float, float]) -> Survey:
    """Reads every slice once, keeping a reduced copy.

    Args:
      scan: the scan.
      input_kind: "hu" | "uint8" if set by the user, else None.
      window_hu: (low, high) that 0 and 255 of windowed slices stand for.
    Raises: ValueError for values that are neither HU nor windowed; names the source, the range and the remedy.
    """
    lows, highs, sums, counts, reduced, factors = [], [], [], [], [], []
    values = np.zeros(0)  # distinct measured values, while there are few
    paddings = np.zeros(0)  # values below any scanner's range
    has_unmeasured = False
    for index in range(scan.num_slices):
        view = scan.read(index)
        if np.isinf(view).any():
            raise ValueError(f"{scan.source} holds infinite values in slice {index}; rewrite the volume without them.")
        measured = view
        unmeasured = ~(view >= ct.LEAST_HU)  # NaN too
        if unmeasured.any():
            measured, has_unmeasured = view[~unmeasured], True
            paddings = np.union1d(paddings, view[view < ct.LEAST_HU])
            _check_padding(scan, paddings)
            view = np.where(unmeasured, scans.AIR_HU, view)
        if measured.size:
            lows.append(float(measured.min()))
            highs.append(float(measured.max()))
        sums.append(float(view.sum(dtype=np.float64)))
        counts.append(view.size)
        if len(values) <= MAX_LABELS:
            values = np.union1d(values, measured)
        factors.append(-(-max(view.shape) // _COARSE))
        reduced.append(_reduce(view, factors[-1]))
    low, high = (min(lows), max(highs)) if lows else (scans.AIR_HU, scans.AIR_HU)
    labels = values if len(values) <= MAX_LABELS and (values == np.rint(values)).all() else ()
    kind = _kind(scan, input_kind, low, high, labels)
    if has_unmeasured:
        if kind == "uint8":
            raise ValueError(f"{scan.source} holds NaN or padding, which is not a grey level; set it to 0.")
        low = min(low, scans.AIR_HU)
    found_window = ""
    if kind == "uint8":
        found_window = next(filter(None, (other_window(view, window_hu) for view in reduced)), "")
        scale = (window_hu[1] - window_hu[0]) / 255
        reduced = [window_hu[0] + scale * view for view in reduced]
    lungs, spacing_mm, middle = np.zeros((scan.num_slices, 1, 1), bool), (0.0, 0.0, 0.0), 0
    if scan.grid is not None:
        slice_mm, row_mm, column_mm = scan.grid.spacing_mm
        spacing_mm = (slice_mm, row_mm * factors[0], column_mm * factors[0])
        lungs = _lungs(reduced, spacing_mm[1])
        if lungs.any() and _is_gas(reduced, lungs):
            lungs = np.zeros_like(lungs)
        body = np.cumsum(sum((view > AIR_LIMIT_HU).sum(axis=0) for view in reduced))
        middle = int(np.searchsorted(body, body[-1] / 2))
    padding_hu = float(paddings[0]) if len(paddings) else None
    mean, places = sum(sums) / sum(counts), (np.asarray(factors), spacing_mm, middle)
    return Survey(kind, low, high, mean, lungs, *places, padding_hu, found_window)


def other_window(view: np.ndarray, window_hu: tuple[float, float]) -> str:
    """What shows that a windowed slice has another window than `window_hu`; "" if nothing does.

    A chest has two broad peaks of grey, lung and soft tissue. A slice without them and a valley between is not judged.

    Args:
      view: float[h,w] of grey levels, 0 to 255.
    """
    shares = np.bincount(np.rint(view).astype(int).ravel(), minlength=256) / view.size
    peaks = np.convolve(shares, np.ones(2 * _PEAK_REACH + 1), "same")
    lung = int(peaks[:_DARK].argmax())
    tissue = lung + _PEAK_REACH * 3 + int(peaks[lung + _PEAK_REACH * 3 :].argmax())
    expected = int(ct.window_hu(np.array(_TISSUE_HU), *window_hu))
    lower = min(peaks[lung], peaks[tissue])
    if lower < _PEAK_SHARE or peaks[lung:tissue].min() > lower / 2 or tissue > _DIM * expected:
        return ""
    lung, tissue = (_highest(shares, grey) for grey in (lung, tissue))
    found = f"soft tissue has grey {tissue}, but about {expected} in the window of the networks"
    if lung <= 2:  # clipped, so that its HU are not known
        return found
    per_grey = (_TISSUE_HU - _LUNG_HU) / (tissue - lung)
    low, high = (round(_LUNG_HU + per_grey * (grey - lung), -1) for grey in (0, 255))
    return f"{found}; the greys of lung ({lung}) and soft tissue suggest a window of {low:.0f},{high:.0f} HU"


def _highest(shares: np.ndarray, middle: int) -> int:
    """The most frequent grey, smoothed, of the peak about `middle`."""
    smooth = np.convolve(shares, np.ones(7), "same")
    first = max(middle - _PEAK_REACH, 0)
    return first + int(smooth[first : middle + _PEAK_REACH + 1].argmax())


def _is_gas(slices_hu: Sequence[np.ndarray], lungs: np.ndarray) -> bool:
    """Whether what looks like lungs is pure air, as in bowel and sinuses; lungs hold tissue."""
    values = [view[lungs[index, : view.shape[0], : view.shape[1]]] for index, view in enumerate(slices_hu)]
    return bool(np.median(np.concatenate(values)) < _GAS_HU)


def _check_padding(scan: scans.Scan, values: np.ndarray) -> None:
    """Raises ValueError for several values below any scanner's range: another unit, or interpolated padding."""
    if len(values) > 1:
        raise ValueError(
            f"{scan.source} holds {values[0]:g}, {values[1]:g} and similar values: below {ct.LEAST_HU:g} HU only one "
            "value, as padding, is allowed. Apply the rescale slope and intercept, "
            f"or set voxels outside the field of view to {scans.AIR_HU:g}."
        )


def _reduce(view: np.ndarray, factor: int) -> np.ndarray:
    """Averages blocks of factor x factor pixels, dropping incomplete ones: float32, at most _COARSE per side."""
    rows, columns = (max(side // factor, 1) for side in view.shape)
    blocks = view[: rows * factor, : columns * factor].astype(np.float32)
    return blocks.reshape(rows, -1, columns, blocks.shape[1] // columns).mean(axis=(1, 3))


def _kind(scan: scans.Scan, given: str | None, low: float, high: float, labels: Sequence[float]) -> str:
    """Determines the kind of the values, by the format or else by their range, and checks the user's choice.

    `labels` are the values if a label map could have them, else empty.
    """
    found = f"{scan.source} holds values from {low:g} to {high:g}"
    if given and scan.kind and given != scan.kind:
        raise ValueError(f"{scan.source} is {scan.kind} by its format; omit --input_kind={given}.")
    if (given or scan.kind) == "uint8":
        # Pictures of one grey level are accepted, since their format determines the kind.
        if low < 0 or not 1.5 <= high <= 255 or (len(labels) and not scan.kind):
            remedy = _remedy(low, high, labels, "Omit --input_kind=uint8 for a volume in HU.")
            raise ValueError(f"{found}: not windowed slices of 0 to 255 grey levels. {remedy}")
        return "uint8"
    if low > AIR_LIMIT_HU or high > 32767:
        remedy = "Apply the rescale slope and intercept of the scanner, and do not clip or crop to soft tissue."
        raise ValueError(
            f"{found}: not Hounsfield units of a chest CT, which contains air (below {AIR_LIMIT_HU:g}). "
            + _remedy(low, high, labels, remedy)
        )
    if low == high:
        raise ValueError(
            f"{scan.source} holds only the value {low:g} (NaN counts as air), so it is not a scan; export it again."
        )
    return "hu"


def _remedy(low: float, high: float, labels: Sequence[float], otherwise: str) -> str:
    """Suggests what to do about values that a network does not accept."""
    if len(labels):
        shown = ", ".join(f"{value:g}" for value in labels)
        return f"It looks like a label map (the only values are {shown}), not a scan: pass the scan itself."
    if low >= 0 and high <= 1:
        return (
            "It looks windowed to 0 to 1: pass the original volume, or multiply by 255 and use --input_kind=uint8 if "
            "its window is that of the network's training."
        )
    if low >= 0 and high <= 255:
        return (
            "It looks windowed already: pass the original volume, or use --input_kind=uint8 if its window is that of "
            "the network's training."
        )
    return otherwise


def _lungs(slices_hu: list[np.ndarray], spacing_mm: float) -> np.ndarray:
    """Segments the lungs approximately: larger parts of air not connected to the border, closed and filled."""
    shape = tuple(np.max([view.shape for view in slices_hu], axis=0))
    air = np.zeros((len(slices_hu), *shape), bool)
    for index, view in enumerate(slices_hu):
        air[index, : view.shape[0], : view.shape[1]] = view < AIR_LIMIT_HU
    parts, num_parts = ndimage.label(air)
    border = (
        np.concatenate([parts[:, 0], parts[:, -1]], axis=1),
        np.concatenate([parts[:, :, 0], parts[:, :, -1]], axis=1),
    )
    sizes = np.bincount(parts.ravel(), minlength=num_parts + 1)
    sizes[np.unique(np.concatenate([np.unique(part) for part in border]))] = 0
    sizes[0] = 0
    lungs = (sizes >= max(_SMALL_LUNG * sizes.max(), 1))[parts]
    steps = min(round(_CLOSING_MM / spacing_mm / 2), _COARSE // 16) if spacing_mm else 2
    if steps:
        disk = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), steps)
        padded = np.pad(lungs, ((0, 0), (steps, steps), (steps, steps)))
        lungs = ndimage.binary_closing(padded, disk[None])[:, steps:-steps, steps:-steps]
    lungs = np.stack([ndimage.binary_fill_holes(view) for view in lungs])
    return lungs if lungs.mean(axis=(1, 2)).max() > _LEAST_AREA else np.zeros_like(lungs)

"""PyRadiomics' image filters, applied in the plane of one slice."""

import numpy as np
import SimpleITK
from radiomics import imageoperations

# PyRadiomics ignores unknown options.
OPTIONS = {
    "LoG": ("sigma",),
    "Wavelet": ("wavelet", "level", "start_level"),
    "Gradient": ("gradientUseSpacing",),
    "Square": (),
    "SquareRoot": (),
    "Logarithm": (),
    "Exponential": (),
}


def apply(image: np.ndarray, filters: dict[str, dict], spacing_mm: tuple[float, float]) -> dict[str, np.ndarray]:
    """Filtered images of a slice by PyRadiomics' names, such as `wavelet-LH` or `log-sigma-1-0-mm`.

    Args:
      image: float[H, W].
      filters: PyRadiomics' name of a filter (LoG, Wavelet, ...) -> its options, such as {"sigma": [1.0, 3.0]}.
      spacing_mm: height and width of a pixel: lengths such as the sigma of LoG are in mm, or in pixels if this is 1.
    Raises: ValueError for a filter that returns too few images.
    Differs from PyRadiomics: its LoG is three-dimensional and does not take single slices; here it is two-dimensional.
    """
    found = {}
    for name, options in filters.items():
        slice_ = SimpleITK.GetImageFromArray(image)
        slice_.SetSpacing((float(spacing_mm[1]), float(spacing_mm[0])))
        results = list(getattr(imageoperations, f"get{name}Image")(slice_, None, **options))
        wanted = len(options["sigma"]) if "sigma" in options else 1
        if len(results) < wanted:
            height, width = image.shape
            raise ValueError(
                f"Filter {name!r} with {options} returns {len(results)} images for a slice of {height}x{width} pixels; "
                "LoG needs sigma, a list of lengths > 0 that are smaller than the slice."
            )
        found.update(
            {label.removesuffix("-3D"): SimpleITK.GetArrayFromImage(filtered) for filtered, label, _ in results}
        )
    return found

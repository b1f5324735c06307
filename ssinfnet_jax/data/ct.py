"""CT images as the networks see them: 8-bit grey, lung window.

Hounsfield units come from NIfTI (`nifti`) or DICOM (inference); PNG and JPG are windowed already by whoever
exported them.
"""

import os

import numpy as np
from PIL import Image, UnidentifiedImageError

# Level -450, width 1400. Air, lung, ground glass, consolidation and soft tissue (<= 100 HU) are all
# unclipped, so that the two lesion classes stay apart; only bone and contrast medium saturate. Of the
# customary lung windows it is the one that puts lung (-860 HU) at 53 and soft tissue (45 HU) at 218 of 255,
# within the quartiles measured on the 50 labeled slices of the public COVID-SemiSeg set (35-53 and 205-226),
# which its images were exported with.
LOW_HU = -1150.0
HIGH_HU = 250.0

# A chest CT in HU has air, hence values at or below this; no export of grey levels does.
MOST_AIR_HU = -500.0

# What phenotypes in HU take at least. Scanners measure no less than air (-1024); what lies below is padding.
LEAST_HU = -4096.0

# Channels of a grey JPG stored as colour differ by rounding only; a drawing in colour differs by far more.
_GREY_TOLERANCE = 16


def window_hu(ct_hu: np.ndarray, low: float = LOW_HU, high: float = HIGH_HU) -> np.ndarray:
    """Maps Hounsfield units to grey: round(255 (ct_hu - low) / (high - low)), clipped to [0, 255].

    Args:
      ct_hu: number[...], Hounsfield units.
      low: shown as 0, HU.  high: shown as 255, HU.

    Returns: uint8[...], shape of `ct_hu`.
    Raises: ValueError for low >= high or values that are not finite.
    """
    if not low < high:
        raise ValueError(f"A window needs low < high; got low={low}, high={high} HU.")
    ct_hu = np.asarray(ct_hu, dtype=np.float32)
    if not np.isfinite(ct_hu).all():
        raise ValueError("CT values must be finite; found NaN or infinity. Replace padding by air (-1000 HU) first.")
    return np.clip(np.rint((ct_hu - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def open_image(path: str | os.PathLike) -> Image.Image:
    """Opens and fully decodes an image file, so that a truncated one is found here.

    Returns: the decoded Pillow image, in the mode of the file.
    Raises:
      FileNotFoundError: no such file.
      ValueError: not an image, truncated, several in one file, or of 16 bits per channel in colour or with alpha, of
        which Pillow keeps the high ones; names the file and the remedy.
    """
    try:
        image = Image.open(path)
        stored = " ".join(str(tile.args) for tile in image.tile)  # such as RGB;16B; gone once it is loaded
        num_frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1  # a photograph and its previews
        image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"Image file {os.fspath(path)} does not exist; check the dataset folder.") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{os.fspath(path)} is not an image that can be read; expected PNG or JPG. Replace or remove it."
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"Image file {os.fspath(path)} is no slice ({error}); replace or remove it.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"Image file {os.fspath(path)} is truncated or damaged ({error}); copy or download it again."
        ) from error
    if num_frames > 1:
        raise ValueError(f"{os.fspath(path)} holds {num_frames} pictures; expected one. Save them as a file each.")
    if ";16" in stored and not image.mode.startswith("I"):
        raise ValueError(
            f"{os.fspath(path)} has 16 bits per channel ({stored}), of which only the high 8 would be read: 4095 "
            "becomes 15. Save its values as 8-bit PNG, windowed by ssinfnet_jax.data.ct.window_hu if they are HU."
        )
    return image


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a windowed CT slice from PNG or JPG; grey, or grey stored as colour.

    Returns: uint8[H, W]; row 0 is the first row of the file, nothing is rotated or mirrored.
    Raises:
      FileNotFoundError: no such file.
      ValueError: not an image, truncated, not 8-bit, in real colour, or transparent where it is not black; names the
        file.
    """
    image = open_image(path)
    if image.mode in ("L", "LA", "P", "RGB", "RGBA") and image.has_transparency_data:
        _check_opaque(image, path)
    if image.mode == "L":
        return np.array(image)
    if image.mode not in ("LA", "P", "RGB", "RGBA"):
        raise ValueError(
            f"{os.fspath(path)} has Pillow mode {image.mode!r}; a CT slice must be 8-bit grey (L) or grey "
            "as RGB. Window deeper data with ssinfnet_jax.data.ct.window_hu and save it as 8-bit PNG."
        )
    colour = np.array(image.convert("RGB")).astype(np.int16)
    spread = int((colour.max(axis=-1) - colour.min(axis=-1)).max())
    if spread > _GREY_TOLERANCE:
        raise ValueError(
            f"{os.fspath(path)} is in colour: channels differ by up to {spread} grey levels, at most "
            f"{_GREY_TOLERANCE} are taken as grey. Export the slice without overlays, or convert it to grey."
        )
    return np.rint(colour.mean(axis=-1)).astype(np.uint8)


def _check_opaque(image: Image.Image, path: str | os.PathLike) -> None:
    """Raises ValueError where transparent pixels have a value: whether they show it is up to what lies behind."""
    channels = np.array(image.convert("RGBA"))
    hidden = int(((channels[..., 3] < 255) & channels[..., :3].any(axis=-1)).sum())
    if hidden:
        raise ValueError(
            f"{os.fspath(path)} has {hidden} transparent pixels that are not black; flatten it onto the background "
            "that it is meant for, and save it without alpha."
        )


def to_grey(volume: np.ndarray, source: str) -> tuple[np.ndarray, str]:
    """Recognises the intensities of a chest CT volume by its range and maps them to windowed 8-bit grey.

    A chest CT in HU holds air, hence values below -500; a windowed export holds 0..255, or 0..1.

    Args:
      volume: number[...], as read.
      source: file name for the error message.

    Returns: (uint8[...], name of the rule).
    Raises: ValueError for any other range; names the file, the range, the rules and the remedy.
    """
    low, high = float(volume.min()), float(volume.max())
    if low <= MOST_AIR_HU:
        return window_hu(volume), f"HU, windowed to [{LOW_HU:g}, {HIGH_HU:g}]"
    if low >= 0 and 1 < high <= 255:
        return np.rint(volume).astype(np.uint8), "windowed already, 0..255"
    if low >= 0 and 0 < high <= 1:
        return np.rint(volume * 255).astype(np.uint8), "windowed already, 0..1"
    raise ValueError(
        f"{source} holds values from {low:g} to {high:g}: neither HU of a chest CT (air, below -500) "
        "nor grey (0..255 or 0..1). Apply the rescale slope and intercept of the scanner, then try again."
    )

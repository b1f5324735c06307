"""CT images as the networks see them: 8-bit grey, lung window.

NIfTI and DICOM (`readers`) hold Hounsfield units; PNG and JPG were windowed when they were exported.
"""

import os

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

# Level -450, width 1400. Air, lung, ground glass, consolidation and soft tissue (<= 100 HU) are not
# clipped, so the two lesion classes stay distinct; only bone and contrast medium saturate. The public COVID-SemiSeg
# images were exported with this window: among the customary lung windows, only this one maps lung (-860 HU) to 53 and
# soft tissue (45 HU) to 218 of 255, within the quartiles measured on their 50 labeled slices (35-53 and 205-226).
LOW_HU = -1150.0
HIGH_HU = 250.0
SOFT_TISSUE_HU = (-160.0, 240.0)  # the usual window of the mediastinum, for display only

# A chest CT in HU contains air, hence values at or below this; an export of grey levels does not.
MOST_AIR_HU = -500.0

# The lowest value that phenotypes in HU accept. Scanners measure nothing below air (-1024); lower values are padding.
LEAST_HU = -4096.0

_DEEP = (
    "launch.segment reads 16 bits with --hu_slope and --hu_offset, or --hu_window; else window it to 8 bits, such as "
    "stored values of 0 to 4095: magick IN.png -level 0,4095 -depth 8 OUT.png."
)

# Channels of a grey JPG stored as colour differ by rounding only; a drawing in colour differs by far more.
_GREY_TOLERANCE = 16


def window_hu(ct_hu: np.ndarray, low: float = LOW_HU, high: float = HIGH_HU) -> np.ndarray:
    """Maps Hounsfield units to grey: round(255 (ct_hu - low) / (high - low)), clipped to [0, 255].

    Args:
      ct_hu: number[...], Hounsfield units.
      low: HU that map to 0.  high: HU that map to 255.

    Returns: uint8[...], of the shape of `ct_hu`.
    Raises: ValueError if low >= high or a value is not finite.
    """
    if not low < high:
        raise ValueError(f"A window needs low < high; got low={low}, high={high} HU.")
    ct_hu = np.asarray(ct_hu, dtype=np.float32)
    if not np.isfinite(ct_hu).all():
        raise ValueError("CT values must be finite; found NaN or infinity. Replace padding with air (-1000 HU) first.")
    return np.clip(np.rint((ct_hu - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def open_image(path: str | os.PathLike) -> Image.Image:
    """Opens and fully decodes an image file, so that a truncated file fails here.

    Returns: the decoded Pillow image, in the mode of the file.
    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is not an image, is truncated, holds several pictures, or has 16 bits per channel in colour
        or with alpha, of which Pillow keeps only the high 8; names the file and the remedy.
    """
    try:
        image = Image.open(path)
        stored = " ".join(str(tile.args) for tile in image.tile)  # such as RGB;16B; lost after load()
        num_frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1  # a photograph and its previews
        image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"Image file {os.fspath(path)} does not exist; check the dataset folder.") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{os.fspath(path)} is not a readable image; expected PNG or JPG. Replace or remove it."
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"Image file {os.fspath(path)} is too large for a slice ({error}); replace or remove it."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"Image file {os.fspath(path)} is truncated or damaged ({error}); copy or download it again."
        ) from error
    if num_frames > 1:
        raise ValueError(f"{os.fspath(path)} holds {num_frames} pictures; expected one. Save each to its own file.")
    if ";16" in stored and not image.mode.startswith("I"):
        raise ValueError(
            f"{os.fspath(path)} has 16 bits per channel ({stored}), of which only the high 8 would be read: 4095 "
            "becomes 15. Save it as grey: magick IN.png -colorspace Gray -depth 16 OUT.png."
        )
    return image


def read_deep(path: str | os.PathLike) -> np.ndarray:
    """Reads a grey picture of 8 or 16 bits as it is stored.

    Returns: uint8[H, W] or uint16[H, W].
    Raises: as `read_image`.
    """
    image = open_image(path)
    if not image.mode.startswith("I"):
        return read_image(path)
    values = np.array(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{os.fspath(path)} holds values from {values.min()} to {values.max()}; expected 0 to 65535.")
    return values.astype(np.uint16)


def exif_orientation(path: str | os.PathLike) -> int:
    """Reads the EXIF orientation of a picture, 1 (as stored) to 8, which viewers apply and `read_image` does not.

    Returns 1 if there is none, or if the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 1
    return found if found in range(1, 9) else 1


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a windowed CT slice from PNG or JPG, grey or grey stored as colour.

    Returns: uint8[H, W]; row 0 is the first row of the file, nothing is rotated or mirrored.
    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is not an image, truncated, not 8-bit, in real colour, or has transparent pixels that are not
        black; names the file.
    """
    image = open_image(path)
    if image.mode in ("L", "LA", "P", "RGB", "RGBA") and image.has_transparency_data:
        _check_opaque(image, path)
    if image.mode == "L":
        return np.array(image)
    if image.mode not in ("LA", "P", "RGB", "RGBA"):
        raise ValueError(
            f"{os.fspath(path)} has Pillow mode {image.mode!r}; a CT slice must be 8-bit grey (L) or grey "
            f"as RGB. {_DEEP}"
        )
    colour = np.array(image.convert("RGB")).astype(np.int16)
    spread = int((colour.max(axis=-1) - colour.min(axis=-1)).max())
    if spread > _GREY_TOLERANCE:
        raise ValueError(
            f"{os.fspath(path)} is in colour: channels differ by up to {spread} grey levels; at most "
            f"{_GREY_TOLERANCE} count as grey. Export the slice without overlays, or convert it to grey."
        )
    return np.rint(colour.mean(axis=-1)).astype(np.uint8)


def _check_opaque(image: Image.Image, path: str | os.PathLike) -> None:
    """Raises ValueError if transparent pixels are not black: how they look depends on the background."""
    channels = np.array(image.convert("RGBA"))
    hidden = int(((channels[..., 3] < 255) & channels[..., :3].any(axis=-1)).sum())
    if hidden:
        raise ValueError(
            f"{os.fspath(path)} has {hidden} transparent pixels that are not black; flatten it onto its intended "
            "background and save it without alpha."
        )


def to_grey(volume: np.ndarray, source: str) -> tuple[np.ndarray, str]:
    """Maps a chest CT volume to windowed 8-bit grey, judging the kind of its values by their range.

    A chest CT in HU contains air, hence values below -500; a windowed export spans 0..255 or 0..1.

    Args:
      volume: number[...], as read.
      source: file name for the error message.

    Returns: (uint8[...], name of the rule that applied).
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

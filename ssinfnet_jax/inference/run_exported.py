"""Segments one CT slice with the program beside this file: python run_exported.py SLICE.png LABELS.png

Needs jax, flatbuffers, numpy and pillow. MODEL_CARD.md says how to crop a slice and window it to 8-bit grey.
"""

import sys
from pathlib import Path

import jax.export
import numpy as np
from PIL import Image


def main(source: Path, target: Path) -> None:
    """Writes the label map of a slice, in the size of the slice, as a palette PNG.

    Channels of a grey JPG stored as colour may differ by rounding.
    16-bit colour is refused, since Pillow keeps only its high bytes.
    """
    if target.suffix.lower() != ".png" or not target.parent.is_dir() or target.resolve() == source.resolve():
        sys.exit(f"Error: {target} must end in .png, differ from the slice, and lie in an existing folder.")
    ct = Image.open(source)
    modes = ("L", "LA", "P", "RGB", "RGBA")
    if ";16" in str(ct.tile) or ct.mode not in modes or np.ptp(ct.convert("RGB"), 2).max() > 16:
        sys.exit(f"Error: {source} (mode {ct.mode}) is not 8-bit grey; window it as MODEL_CARD.md says.")
    program = jax.export.deserialize(bytearray(Path(__file__).with_name("program.jax_export").read_bytes()))
    image = np.asarray(ct.convert("L").resize(program.in_avals[0].shape[1:], Image.Resampling.BILINEAR))
    found = jax.jit(program.call)(image[None])  # uint8[B, S, S] -> labels, lesion, classes; any B
    maps = [*np.moveaxis(np.asarray(found["classes"][0]), 2, 0)] if "classes" in found else []
    maps = [
        Image.fromarray(m).resize(ct.size, Image.Resampling.BILINEAR) for m in (*maps, np.asarray(found["lesion"][0]))
    ]
    labels = decide(np.stack(maps), *np.asarray(found["decision"]))
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([0, 0, 0, 86, 180, 233, 230, 159, 0])
    picture.save(target)
    print(*(f"label {label}: {100 * np.mean(labels == label):.2f} %" for label in (0, 1, 2)), sep=", ")


def decide(maps: np.ndarray, joint: float, threshold: float, share: float, weight: float, least: float) -> np.ndarray:
    """Decides labels [H,W] from the probabilities of the classes, if any, and of the lesion."""
    if len(maps) > 1 and not joint:
        return maps[:3].argmax(axis=0)
    ggo, dense = maps[1:3] if len(maps) > 1 else (maps[0], 0)
    lesion, is_dense = (1 - weight) * maps[-1] + weight * (ggo + dense) > threshold, dense > share * (ggo + dense)
    few = [np.sum(lesion & part) < least * np.sum(lesion) for part in (is_dense, ~is_dense)]
    return lesion * np.where(is_dense & ~few[0] | few[1], 2, 1)


if __name__ == "__main__":
    sys.excepthook = lambda kind, error, _: sys.stderr.write(f"Error: {sys.argv[1]}: {kind.__name__}: {error}\n")
    sys.exit(main(*map(Path, sys.argv[1:])) if len(sys.argv) == 3 else "Error: pass two files, SLICE.png LABELS.png")

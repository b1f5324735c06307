import matplotlib.colors
import numpy as np
import pytest

from ssinfnet_jax.report.kit import figure_style, slice_drawing


def rgb255(colour):
    return np.round(255 * np.asarray(matplotlib.colors.to_rgb(colour)))


def test_blend_mixes_grey_and_class_colours():
    image = np.full((2, 3), 100, np.uint8)
    classes = np.array([[0, 1, 2], [0, 0, 0]])
    pixels = slice_drawing.blend(image, classes, alpha=0.4)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[1], np.full((3, 3), 100))
    np.testing.assert_allclose(pixels[0, 1], 0.6 * 100 + 0.4 * rgb255(figure_style.GGO), atol=0.51)
    np.testing.assert_allclose(pixels[0, 2], 0.6 * 100 + 0.4 * rgb255(figure_style.CONSOLIDATION), atol=0.51)
    np.testing.assert_array_equal(slice_drawing.blend(image / 255.0, classes, alpha=0.4), pixels)


def test_blend_keeps_the_ct_visible():
    image = np.arange(256, dtype=np.uint8)[None]
    tinted = slice_drawing.blend(image, np.ones_like(image), alpha=0.4).astype(int).sum(axis=-1)[0]
    assert (np.diff(tinted) > 0).mean() > 0.9  # brighter CT stays brighter under the tint


def test_blend_names_what_is_wrong():
    image = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match=r"image has shape \(2, 2\), its class map \(3, 2\).*nearest"):
        slice_drawing.blend(image, np.zeros((3, 2), int))
    with pytest.raises(ValueError, match=r"contains \[3\], but only \[1, 2\] have colours"):
        slice_drawing.blend(image, np.full((2, 2), 3))

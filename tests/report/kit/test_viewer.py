import base64
import io

import numpy as np
import pytest
from matplotlib import colormaps, colors
from PIL import Image

from ssinfnet_jax.report.kit import figure_style, slice_drawing, viewer


def _case(num=4, size=(48, 64), **options):
    """Smooth slices with lesions of both classes, none on the first slice."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (num, 6, 8), np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(part).resize(size[::-1], Image.Resampling.BICUBIC)) for part in coarse]
    )
    classes = np.kron(random.integers(0, 3, (num, 6, 8)), np.ones((size[0] // 6, size[1] // 8))).astype(np.uint8)
    classes[0] = 0
    return viewer.Case("a", images, classes, **options)


def _decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(";base64,")[2])))


def test_shares_are_of_the_slice_and_not_of_what_fills_it_up():
    images = np.zeros((2, 40, 50), np.uint8)
    classes = images.copy()
    classes[:, :20, :10] = 1
    view = viewer.view(viewer.Case("a", images, classes, areas=[2000, 400]))
    assert view["slices"]["captions"] == ["GGO 10 % of the slice", "GGO 50 % of the slice"]


def test_slices_and_label_maps_come_back():
    case = _case(truth=_case().classes[::-1].copy(), labels=["p", "q", "r", "s"])
    view = viewer.view(case)
    assert (view["num"], view["size"], view["slices"]["labels"]) == (4, (48, 64), ["p", "q", "r", "s"])
    palette = np.array([colors.to_rgba(colour, 1) for colour in (figure_style.GGO, figure_style.CONSOLIDATION)])
    for index in range(4):
        image = _decoded(view["slices"]["images"][index])
        assert image.mode == "L"
        assert np.abs(np.asarray(image).astype(int) - case.images[index]).mean() < 3
        for name, stack in (("classes", case.classes), ("truth", case.truth)):
            uri = view["slices"][name][index]
            if not stack[index].any():
                assert uri is None
                continue
            rgba = np.asarray(_decoded(uri).convert("RGBA"))
            assert (rgba[..., 3] == 255 * (stack[index] > 0)).all()
            for number in (1, 2):
                shown = rgba[stack[index] == number] / 255
                assert np.abs(shown - palette[number - 1]).max() < 0.003


def test_soft_tissue_and_probability_come_back():
    soft = _case().images[:, ::2, ::2].copy()
    probability = np.zeros((4, 24, 32), np.uint8)
    probability[1, :12, :16], probability[1, 12:, :16], probability[1, 12:, 16:] = 255, 77, 25  # 1, 0.302, 0.098
    view = viewer.view(_case(soft=soft, probability=probability, counted_from=0))
    assert (view["slices"]["counted_from"], view["slices"]["probability"][0], len(view["levels"])) == (0, None, 10)
    assert [name for name, _ in view["windows"]] == ["images", "soft"]
    assert [name for name, _ in view["layers"]] == ["classes", "probability"]
    shown = np.asarray(_decoded(view["slices"]["soft"][2]))
    assert shown.shape == (48, 64)  # of the images
    assert np.abs(shown.astype(int) - np.asarray(Image.fromarray(soft[2]).resize((64, 48), 1))).mean() < 3
    rgba = np.asarray(_decoded(view["slices"]["probability"][1]).convert("RGBA"))
    for place, level in (((4, 4), 1.0), ((40, 4), 0.3)):
        np.testing.assert_allclose(rgba[place] / 255, colormaps["plasma"](level), atol=0.003)
    assert rgba[40, 60, 3] == rgba[4, 60, 3] == 0


def test_captions_profile_and_first_slice():
    case = _case()
    case.classes[:] = 0
    case.classes[1, :12], case.classes[2, :6], case.classes[2, 6:30] = 1, 1, 2
    view = viewer.view(case)
    assert view["first"] == 2
    assert view["slices"]["captions"] == [
        "no lesion predicted",
        "GGO 25 % of the slice",
        "GGO 12 %, consolidation 50 % of the slice",
        "no lesion predicted",
    ]
    # Bars of height share / largest share, consolidation on top of GGO.
    assert view["profile"] == [
        (figure_style.GGO, "M0.5 1.000h1v-0.400h-1zM1.5 1.000h1v-0.200h-1z"),
        (figure_style.CONSOLIDATION, "M1.5 0.800h1v-0.800h-1z"),
    ]


def test_lesion_alone():
    case = _case()
    case = viewer.Case("a", case.images, (case.classes > 0).astype(np.uint8), colours=figure_style.LESIONS)
    assert viewer.view(case)["key"] == [("Lesion", figure_style.LESION)]


@pytest.mark.parametrize(
    ("num", "size", "shown"),
    [
        (2, (512, 512), (384, 384)),
        (2, (400, 200), (384, 192)),
        (1200, (48, 64), (48, 64)),
        (1200, (240, 240), (192, 192)),
    ],
)
def test_large_and_many_slices_are_shown_smaller(num, size, shown):
    images = np.zeros((num, *size), np.uint8)
    images[:, ::2] = 200
    view = viewer.view(viewer.Case("a", images, (images > 0).astype(np.uint8)))
    assert view["size"] == shown
    for name in ("images", "classes"):
        assert _decoded(view["slices"][name][-1]).size == shown[::-1]


def test_preview_is_of_the_largest_lesion():
    case = _case()
    case.images[:], case.classes[:] = 100, 0
    case.classes[3] = 2
    tint = slice_drawing.blend(case.images[3], case.classes[3])
    picture = np.asarray(_decoded(viewer.preview(case, size=32)))
    assert picture.shape == (24, 32, 3)
    np.testing.assert_allclose(picture.mean(axis=(0, 1)), tint.mean(axis=(0, 1)), atol=3)


def test_mistakes_name_the_case():
    case = _case()
    with pytest.raises(ValueError, match=r"Case 'x': classes is uint8\[3, 48, 64\], images are \[4, 48, 64\]"):
        viewer.Case("x", case.images, case.classes[:3])
    with pytest.raises(ValueError, match=r"Case 'x': truth is float64\[4, 48, 64\]"):
        viewer.Case("x", case.images, case.classes, case.classes / 2)
    with pytest.raises(ValueError, match=r"Case 'x': classes contains 2, but only \[1\] have colours"):
        viewer.Case("x", case.images, case.classes, colours=figure_style.LESIONS)
    for name, stack in (("soft", case.images[:3]), ("probability", case.images / 255)):
        with pytest.raises(ValueError, match=rf"Case 'x': {name} is .*; pass uint8\[4, h, w\]"):
            viewer.Case("x", case.images, case.classes, **{name: stack})
    with pytest.raises(ValueError, match="Case 'x' has 4 slices but 1 labels"):
        viewer.Case("x", case.images, case.classes, labels=["a"])

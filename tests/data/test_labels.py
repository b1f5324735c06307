import numpy as np
import pytest
from PIL import Image

from ssinfnet_jax.data import labels


def save(path, values, palette=None):
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette(palette)
    image.save(path)
    return path


def test_palette_indices_are_the_classes_whatever_the_colours(tmp_path):
    path = save(tmp_path / "c.png", [[0, 1], [2, 2]], palette=[0, 0, 0, 128, 0, 0, 0, 128, 0])
    assert Image.open(path).mode == "P"
    np.testing.assert_array_equal(labels.read_classes(path), [[0, 1], [2, 2]])


def test_bilevel_png_holds_0_and_255(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(labels.read_values(tmp_path / "b.png"), [[0, 255]])


def test_a_binary_map_is_not_a_class_map(tmp_path):
    with pytest.raises(
        ValueError, match=r"c\.png holds the values \{0, 255\}; expected 0 background, 1 GGO, 2 con.* as PNG"
    ):
        labels.read_classes(save(tmp_path / "c.png", [[0, 255]]))


def test_jpeg_labels_are_refused(tmp_path):
    blurred = np.kron(np.array([[0, 255], [255, 0]]), np.ones((9, 9)))
    path = save(tmp_path / "l.jpg", blurred)
    with pytest.raises(ValueError, match=r"l\.jpg holds the values .*without interpolation or JPEG compression"):
        labels.read_classes(path)


def test_colour_labels_are_refused(tmp_path):
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[0, 0, 0] = 128
    Image.fromarray(colour).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"c\.png is in colour .*palette PNG with 0 background, 1 GGO"):
        labels.read_classes(tmp_path / "c.png")


def test_float_volumes_are_classes_only_if_values_are_whole():
    np.testing.assert_array_equal(labels.check_classes(np.array([0.0, 1.0, 2.0004], np.float32), "v.nii"), [0, 1, 2])
    for values, shown in (([0.0, 0.5], r"0, 0\.5"), ([0, -1], "-1, 0"), ([0, 3], "0, 3"), ([0, 256], "0, 256")):
        with pytest.raises(ValueError, match=rf"v\.nii holds the values \{{{shown}\}}.*as whole numbers"):
            labels.check_classes(np.array(values), "v.nii")


def test_check_same_size_names_both_files():
    labels.check_same_size(np.zeros((4, 6)), np.zeros((4, 6)), "i.png", "l.png")
    with pytest.raises(ValueError, match=r"Label l\.png is 6x4 but its image i\.png is 4x6 \(rows x columns\)"):
        labels.check_same_size(np.zeros((4, 6)), np.zeros((6, 4)), "i.png", "l.png")


def test_resize_label_creates_no_class():
    label = np.zeros((12, 12), np.uint8)
    label[3:9, 3:9] = 2
    for size in ((7, 5), (24, 31)):
        resized = labels.resize_label(label, size)
        assert resized.shape == size
        assert set(np.unique(resized)) == {0, 2}
    np.testing.assert_array_equal(labels.resize_label(label, (24, 24)), np.kron(label, np.ones((2, 2), np.uint8)))
    assert labels.resize_label(label, (12, 12)) is label


def test_resize_image_averages_when_it_shrinks():
    checkers = np.indices((8, 8)).sum(axis=0).astype(np.uint8) % 2 * 200
    shrunk = labels.resize_image(checkers, (2, 2))
    assert shrunk.dtype == np.uint8
    np.testing.assert_allclose(shrunk, 100, atol=12)  # nearest neighbour would give 0 or 200
    np.testing.assert_array_equal(labels.resize_image(np.full((4, 4), 9, np.uint8), (3, 7)), 9)


@pytest.mark.parametrize("values", [np.zeros((2, 2), np.float32), np.zeros((2, 2, 1), np.uint8)])
def test_resize_refuses_other_arrays(values):
    with pytest.raises(ValueError, match=r"Expected uint8\[H, W\]; got"):
        labels.resize_image(values, (4, 4))


def test_published_interpolation_creates_a_rim_of_ggo():
    label = np.zeros((16, 16), np.uint8)
    label[4:12, 4:12] = 2
    assert set(np.unique(labels.resize_label(label, (40, 40)))) == {0, 2}
    assert set(np.unique(labels.resize_image(label, (40, 40)))) == {0, 1, 2}


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_grey_labels_of_every_type_are_read(dtype, tmp_path):
    values = np.array([[0, 1], [2, 0]])
    Image.fromarray(values.astype(dtype)).save(tmp_path / "label.tif")
    classes = labels.read_classes(tmp_path / "label.tif")
    np.testing.assert_array_equal(classes, values)


def test_values_between_the_classes_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 0.5], [1, 2]], np.float32)).save(tmp_path / "label.tif")
    with pytest.raises(ValueError, match=r"holds the values \{0, 0\.5, 1, 2\}; expected 0 back"):
        labels.read_classes(tmp_path / "label.tif")


@pytest.mark.parametrize("error", [1e-7, -1e-7, 5e-4])
def test_whole_numbers_may_be_rounded(error):
    stored = np.array([[0, 1 + error], [2 - error, 1]], np.float32)
    classes = labels.check_classes(stored, "mask.nii.gz")
    np.testing.assert_array_equal(classes, [[0, 1], [2, 1]])
    assert classes.dtype == np.uint8


@pytest.mark.parametrize(
    ("stored", "shown"), [([0, 1.002], "0, 1.002"), ([0, 1, np.nan], "0, 1, nan"), ([0.5, 100], "0.5, 100")]
)
@pytest.mark.parametrize(
    ("name", "form"), [("m.nii.gz", "whole numbers"), ("m.NII", "whole numbers"), ("m.tif", "PNG")]
)
def test_refusal_shows_the_values_and_a_remedy_for_the_file_type(stored, shown, name, form):
    message = rf"{name} holds the values \{{{shown}\}}; expected .*Save labels as {form} without interpol"
    with pytest.raises(ValueError, match=message):
        labels.check_classes(np.float32(stored), name)

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ssinfnet_jax.data import ct


def test_window_hu_by_hand():
    hu = np.array([-2000, -1150, -800, -450, 250, 3000], np.float32)
    # 350 HU above the lower end of a width of 1400 is a quarter of 255.
    np.testing.assert_array_equal(ct.window_hu(hu), [0, 0, 64, 128, 255, 255])
    np.testing.assert_array_equal(ct.window_hu(np.array([0, 50, 100]), low=0, high=100), [0, 128, 255])
    assert ct.window_hu(hu).dtype == np.uint8


def test_window_hu_refuses():
    with pytest.raises(ValueError, match="low < high; got low=5, high=5"):
        ct.window_hu(np.zeros(3), low=5, high=5)
    with pytest.raises(ValueError, match="must be finite"):
        ct.window_hu(np.array([0, np.nan]))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_read_image_accepts_grey_in_any_mode(tmp_path, mode):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    Image.fromarray(grey).convert(mode).save(tmp_path / "i.png")
    image = ct.read_image(tmp_path / "i.png")
    np.testing.assert_array_equal(image, grey)
    assert image.dtype == np.uint8


def test_read_image_accepts_a_grey_jpg_stored_as_colour(tmp_path):
    ramp = np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None], 16, axis=0)
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "i.jpg", quality=95)
    np.testing.assert_allclose(ct.read_image(tmp_path / "i.jpg").astype(int), ramp, atol=4)


def test_read_image_refuses_colour(tmp_path):
    colour = np.full((8, 8, 3), 90, np.uint8)
    colour[3, 3] = (255, 0, 0)
    Image.fromarray(colour).save(tmp_path / "arrow.png")
    with pytest.raises(ValueError, match=r"arrow\.png is in colour: channels differ by up to 255"):
        ct.read_image(tmp_path / "arrow.png")


def test_read_image_refuses_sixteen_bit(tmp_path):
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has Pillow mode 'I;16'; .*--hu_slope and --hu_offset"):
        ct.read_image(tmp_path / "deep.png")


def test_read_image_names_missing_unreadable_and_truncated_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        ct.read_image(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png is not a readable image"):
        ct.read_image(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=rf"{name} is truncated or damaged .*download it again"):
            ct.read_image(tmp_path / name)


def test_read_image_refuses_a_picture_whose_header_says_it_is_huge(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "huge.png")
    data = bytearray((tmp_path / "huge.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height of the header
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"huge\.png is too large for a slice .*3600000000 pixels"):
        ct.read_image(tmp_path / "huge.png")


def test_to_grey_recognises_by_range():
    grey, rule = ct.to_grey(np.array([-1000.0, 250.0]), "v")
    np.testing.assert_array_equal(grey, [27, 255])
    assert rule == "HU, windowed to [-1150, 250]"
    assert ct.to_grey(np.array([0.0, 254.6]), "v")[0].tolist() == [0, 255]
    assert ct.to_grey(np.array([0.0, 1.0]), "v") == (pytest.approx([0, 255]), "windowed already, 0..1")
    with pytest.raises(ValueError, match=r"v\.nii holds values from 0 to 2000: neither HU .*rescale slope"):
        ct.to_grey(np.array([0.0, 2000.0]), "v.nii")


def write_png(path, channels, *, colour, bits, chunks=()):
    """Writes a PNG by hand: `channels` [H, W, C], `colour` type of the standard, `chunks` to put before the data."""
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in channels)
    header = struct.pack(">IIBBBBB", channels.shape[1], channels.shape[0], bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )
    )


GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6


@pytest.mark.parametrize(("colour", "num_channels"), [(GREY, 1), (COLOUR, 3), (GREY_ALPHA, 2), (COLOUR_ALPHA, 4)])
@pytest.mark.parametrize("scale", [1, 16])
def test_sixteen_bits_are_never_read_as_their_high_bytes(tmp_path, colour, num_channels, scale):
    """0..4095 used to become 0..15, which all checks accepted."""
    grey = np.linspace(0, 4095, 64).round().reshape(8, 8) * scale
    channels = np.repeat(grey[..., None], num_channels, axis=-1)
    if colour in (GREY_ALPHA, COLOUR_ALPHA):
        channels[..., -1] = 65535
    write_png(tmp_path / "deep.png", channels, colour=colour, bits=16)
    wanted = r"deep\.png has (Pillow mode 'I;16'; .*--hu_slope|16 bits per channel .*-depth 16 OUT\.png)"
    with pytest.raises(ValueError, match=wanted):
        ct.read_image(tmp_path / "deep.png")


@pytest.mark.parametrize(("colour", "num_channels"), [(GREY, 1), (COLOUR, 3), (GREY_ALPHA, 2), (COLOUR_ALPHA, 4)])
def test_eight_bits_are_read_as_they_are(tmp_path, colour, num_channels):
    grey = np.arange(64).reshape(8, 8) * 4
    channels = np.repeat(grey[..., None], num_channels, axis=-1)
    if colour in (GREY_ALPHA, COLOUR_ALPHA):
        channels[..., -1] = 255
    write_png(tmp_path / "i.png", channels, colour=colour, bits=8)
    np.testing.assert_array_equal(ct.read_image(tmp_path / "i.png"), grey)


def test_palettes_are_read_as_the_colours_they_show(tmp_path):
    """An index is not a grey level."""
    index = np.arange(64).reshape(8, 8)
    palette = np.repeat(255 - 3 * np.arange(64), 3).astype(np.uint8).tobytes()
    write_png(tmp_path / "i.png", index[..., None], colour=3, bits=8, chunks=[(b"PLTE", palette)])
    np.testing.assert_array_equal(ct.read_image(tmp_path / "i.png"), 255 - 3 * index)


@pytest.mark.parametrize("alpha", [0, 128, 254])
@pytest.mark.parametrize("form", ["alpha", "palette", "one grey level", "one colour"])
def test_transparent_pixels_that_are_not_black_are_refused(tmp_path, form, alpha):
    grey = np.full((8, 8), 90)
    grey[:2] = 0  # transparent black is fine: exports with a round field of view have it
    path = tmp_path / "i.png"

    def write(value):
        """Writes the picture with pixels of `value` transparent."""
        if form == "alpha":
            channels = np.stack([grey, np.where(grey == value, alpha, 255)], axis=-1)
            write_png(path, channels, colour=GREY_ALPHA, bits=8)
        elif form == "palette":
            palette, alphas = np.repeat(np.arange(256), 3).astype(np.uint8), np.full(256, 255, np.uint8)
            alphas[value] = alpha
            chunks = [(b"PLTE", palette.tobytes()), (b"tRNS", alphas.tobytes())]
            write_png(path, grey[..., None], colour=3, bits=8, chunks=chunks)
        else:
            num_channels = 1 if form == "one grey level" else 3
            chunks = [(b"tRNS", struct.pack(f">{num_channels}H", *[value] * num_channels))]
            channels = np.repeat(grey[..., None], num_channels, axis=-1)
            write_png(path, channels, colour=GREY if num_channels == 1 else COLOUR, bits=8, chunks=chunks)

    write(0)
    np.testing.assert_array_equal(ct.read_image(path), grey)
    write(90)
    with pytest.raises(ValueError, match=r"i\.png has 48 transparent pixels that are not black; flatten it"):
        ct.read_image(path)


def test_a_file_with_several_pictures_is_refused(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "i.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"i\.png holds 2 pictures; expected one"):
        ct.read_image(tmp_path / "i.png")

"""Photographs and drawings become images like MNIST's, or are refused in one line."""

import os
import struct
import sys
import zlib

import digits
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from minicnn import load_mnist
from minicnn.data import ink
from minicnn.data.image_file import FORMATS
from minicnn.data.photo import ImageError, as_is, preprocess


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    return {path.stem: (path, digit) for path, digit in digits.draw_all(tmp_path_factory.mktemp("d")).items()}


def drawing(digit=5, size=(120, 150), height=90, pen=9):
    """A digit as uint8 [rows, columns], black on white."""
    return (255 - 255 * digits.ink(digit, size, height, pen, 30, 30)).round().astype(np.uint8)


def difference(a, b):
    """The difference of two images in parts of the ink of the first, where they lie on each other best.

    MNIST's digits are moved by whole pixels, so the least change of one may move it by a pixel.
    """
    moved = [np.roll(b, (i, j), (0, 1)).astype(int) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return min(np.abs(m - a).sum() for m in moved) / a.sum()


SAME = 0.35  # one digit under a coarser or noisier edge; two different digits differ by more than 1


def assert_like_mnist(image):
    """As all of MNIST: longest side 20; centre of mass in the middle, or as near as the edge lets it."""
    assert (image.dtype, image.shape) == (np.uint8, (28, 28))
    assert image.max() == 255
    for axis in (0, 1):
        profile = image.sum(axis=axis, dtype=float)
        inked = np.flatnonzero(profile)
        centre = profile @ np.arange(28) / profile.sum()
        assert abs(centre - 14) <= 0.5 + 1e-9 or inked[0] == 0 or inked[-1] == 27
    assert 19 <= max(np.ptp(np.argwhere(image), axis=0) + 1) <= 20  # a faint edge may round to nothing


# --- ten images drawn by hand ---


@pytest.mark.parametrize("name", [made.__name__ for made in digits.IMAGES])
def test_a_trained_network_reads_it(drawings, trained_network, name):
    path, digit = drawings[name]
    probabilities = trained_network.predict(preprocess(path).image[None])[0]
    assert probabilities.argmax() == digit
    assert_like_mnist(preprocess(path).image)


# --- what MNIST's own images become ---


def test_images_of_mnist_stay_what_they_are(trained_network):
    test = load_mnist().test
    images = np.stack([preprocess(Image.fromarray(image)).image for image in test.images[:300]])
    for image in images:
        assert_like_mnist(image)
    before, after = (trained_network.predict(i).argmax(axis=1) for i in (test.images[:300], images))
    assert (before == after).mean() > 0.97
    assert np.median([difference(a, b) for a, b in zip(test.images, images, strict=False)]) < 0.1


@pytest.mark.parametrize("index", range(5))
def test_size_does_not_matter(index):
    image = Image.fromarray(load_mnist().test.images[index])
    large = preprocess(image.resize((700, 700), Image.Resampling.BICUBIC)).image
    assert difference(preprocess(image).image, large) < SAME


# --- the same digit in other circumstances ---


def test_light_on_dark_is_dark_on_light():
    image = drawing()
    np.testing.assert_array_equal(
        preprocess(Image.fromarray(image)).image, preprocess(Image.fromarray(255 - image)).image
    )


@pytest.mark.parametrize(
    "mode", ["1", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]
)
def test_every_kind_of_pixel_is_read(mode):
    grey = Image.fromarray(drawing())
    if mode == "I;16":
        other = Image.fromarray(drawing().astype(np.uint16) * 257)
    elif mode in ("HSV", "YCbCr", "CMYK"):
        other = grey.convert("RGB").convert(mode)
    elif mode == "PA":
        other = grey.convert("RGBA").quantize(16).convert("PA")
    else:
        other = grey.convert(mode)
    assert difference(preprocess(grey).image, preprocess(other).image) < (SAME if mode == "1" else 0.1)


def test_lab_is_read():
    lab = Image.merge("LAB", [Image.fromarray(drawing()), *(Image.new("L", (120, 150), 128) for _ in "ab")])
    assert difference(preprocess(Image.fromarray(drawing())).image, preprocess(lab).image) < 0.1


@pytest.mark.parametrize("colour", [0, 255])
def test_transparency_is_paper_for_ink_of_any_colour(colour):
    pixels = np.stack([np.full((150, 120), colour, np.uint8), 255 - drawing()], axis=-1)
    expected = preprocess(Image.fromarray(drawing())).image
    assert difference(expected, preprocess(Image.fromarray(pixels)).image) < 0.02


def test_colours_of_one_lightness_are_told_apart():
    mask = digits.ink(5, (120, 150), 90, 9, 30, 30)
    image = digits.picture(digits.plain((120, 150), (200, 120, 60)), mask, (60, 170, 120))
    assert difference(preprocess(Image.fromarray(drawing())).image, preprocess(image).image) < 0.1


def test_a_sheet_on_a_dark_table_is_found():
    table = digits.plain((800, 600), (70.0, 45, 30)) + digits.noise((800, 600), 8, 1)
    table[80:540, 150:650] = (225, 222, 215)
    image = digits.picture(table, digits.ink(3, (800, 600), 250, 16, 320, 180), (30, 30, 60))
    alone = digits.picture(
        digits.plain((800, 600), (225, 222, 215)), digits.ink(3, (800, 600), 250, 16, 320, 180), (30, 30, 60)
    )
    assert difference(preprocess(alone).image, preprocess(image).image) < 0.1


def test_a_dark_table_at_the_side_does_not_hide_faint_pencil():
    sheet = digits.plain((800, 600), (225.0, 222, 215)) + digits.noise((800, 600), 4, 5)
    sheet[:, :170] = sheet[:60] = (50, 35, 20)
    image = digits.picture(sheet, digits.ink(9, (800, 600), 220, 12, 420, 220), (165, 165, 165))
    alone = Image.fromarray((255 - 255 * digits.ink(9, (800, 600), 220, 12, 420, 220)).astype(np.uint8))
    assert difference(preprocess(alone).image, preprocess(image).image) < SAME


@pytest.mark.parametrize("pen", [1, 3, 10, 24])
def test_a_pen_of_any_width_is_brought_into_mnists_range(pen):
    from minicnn.data.photo import BOX, FINE, THICKEST, THINNEST, _stroke_width

    digit = preprocess(Image.fromarray(drawing(3, (300, 300), 130, pen))).digit
    width = _stroke_width(digit) * BOX / max(digit.shape)
    assert THINNEST - 0.2 <= width <= THICKEST
    assert max(digit.shape) <= max(FINE + 80, 300)


def test_specks_are_not_part_of_the_digit():
    image = drawing()
    clean = preprocess(Image.fromarray(image)).image
    image[3:6, 100:103] = 0
    np.testing.assert_array_equal(preprocess(Image.fromarray(image)).image, clean)


def test_the_first_picture_of_an_animation_counts(tmp_path):
    path = tmp_path / "moving.gif"
    frames = [Image.fromarray(drawing(digit)) for digit in (5, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert difference(preprocess(Image.fromarray(drawing(5))).image, preprocess(path).image) < 0.1


def test_as_is_only_scales(tmp_path):
    image = load_mnist().test.images[3]
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(as_is(tmp_path / "a.png").image, image)
    Image.fromarray(image).resize((280, 280), Image.Resampling.NEAREST).save(tmp_path / "b.png")
    np.testing.assert_array_equal(as_is(tmp_path / "b.png").image, image)


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_whatever_is_not_refused_is_like_mnist(pixels):
    try:
        image = preprocess(Image.fromarray(pixels)).image
    except ImageError:
        return
    assert (image.dtype, image.shape, image.max()) == (np.uint8, (28, 28), 255)


# --- what cannot be used ---


def refused(source, *words):
    with pytest.raises(ImageError) as caught:
        preprocess(source)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


@pytest.mark.parametrize("grey", [0, 100, 255])
def test_a_blank_image_is_said_to_be_blank(tmp_path, grey):
    Image.new("L", (200, 100), grey).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", tmp_path / "a.png", "blank")


def test_noise_and_light_are_blank():
    y, x = np.mgrid[:300, :400] / 300
    photo = 120 + 60 * x + digits.noise((400, 300), 6, 0)[..., 0]
    refused(Image.fromarray(photo.clip(0, 255).astype(np.uint8)), "blank")


def test_a_transparent_image_is_blank():
    refused(Image.new("RGBA", (50, 50), (10, 20, 30, 0)), "blank")


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize("side", [20_000, 100_000])
def test_a_decompression_bomb_is_refused(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(side, side))
    refused(tmp_path / "bomb.png", "bomb.png", "too large")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("text.png", b"hello", "not an image"),
        ("empty.jpg", b"", "not an image"),
        ("short.png", png_that_claims(50, 50), "damaged"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, content, word):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, name, word)


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "tif", "bmp"])
def test_half_a_file_is_refused(tmp_path, ending):
    path = tmp_path / f"half.{ending}"
    Image.fromarray(drawing()).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, path)


def test_a_format_that_starts_another_program_is_not_opened(tmp_path, monkeypatch):
    """EPS is PostScript, which Pillow has Ghostscript run."""
    from PIL import EpsImagePlugin

    path = tmp_path / "digit.eps"
    Image.fromarray(drawing()).save(path)
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("EPS was interpreted"))
    with Image.open(path) as image:
        assert image.format == "EPS"
    refused(path, path, "not an image, or not one of ", "JPEG")
    path.rename(tmp_path / "digit.png")  # the contents decide
    refused(tmp_path / "digit.png", "not an image")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_formats_of_cameras_and_browsers_are_read(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    image = Image.fromarray(drawing()).convert("RGB")
    image.save(tmp_path / "file", format=kind)
    assert difference(preprocess(image).image, preprocess(tmp_path / "file").image) < SAME


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "pipe", "not a regular file")
    refused(tmp_path, "not a regular file")
    refused(tmp_path / "nowhere.png", "nowhere.png", "No such file")


@pytest.mark.parametrize("spread", [1e-3, 2e-3, 0.5])
@pytest.mark.parametrize("base", [0.1, 1.0])
def test_some_value_always_reaches_the_threshold(base, spread):
    values = (base + spread * np.linspace(0, 1, 7) ** 8).astype(np.float32)
    if np.ptp(values) > 0:
        assert (values >= ink.otsu(values)).any()


# --- HEIC, with the package that reads it and without ---


def test_heic_is_read_if_the_package_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    paper = Image.new("RGB", (90, 120), "white")
    paper.paste("black", (40, 20, 52, 100))
    paper.save(tmp_path / "a.png")
    pillow_heif.from_pillow(paper).save(tmp_path / "a.heic", quality=-1)
    photograph, picture = (preprocess(tmp_path / name).image.astype(int) for name in ("a.heic", "a.png"))
    assert np.abs(photograph - picture).max() < 30


def test_without_the_package_heic_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ImageError, match=r'HEIC.*pip install "minicnn\[heic\]", or save'):
        preprocess(tmp_path / "a.jpg")

"""Which pieces of ink are the digit, and how ink is told from paper."""

import digits
import numpy as np
import pytest
from PIL import Image, ImageDraw

from minicnn.data.image_file import ImageError
from minicnn.data.photo import preprocess

SIZE = (160, 200)


def plain(digit=5):
    """A digit, black on white, uint8 [rows, columns]."""
    return (255 - 255 * digits.ink(digit, SIZE, 80, 9, 50, 60)).round().astype(np.uint8)


def with_lines(digit, draw):
    image = Image.fromarray(plain(digit))
    draw(ImageDraw.Draw(image))
    return image


SURROUNDINGS = {
    "circle": lambda draw: draw.ellipse((15, 25, 145, 175), outline=0, width=6),
    "frame": lambda draw: draw.rectangle((15, 25, 145, 175), outline=0, width=6),
    "two circles": lambda draw: [draw.ellipse((k, k, 160 - k, 200 - k), outline=0, width=4) for k in (8, 20)],
    "border": lambda draw: draw.rectangle((0, 0, 159, 199), outline=0, width=7),
    "rest of a border": lambda draw: draw.line((0, 197, 159, 197), fill=0, width=7),
    "underline": lambda draw: draw.line((30, 165, 130, 162), fill=0, width=7),
    "two underlines": lambda draw: [draw.line((30, y, 130, y), fill=0, width=5) for y in (160, 174)],
}  # fmt: skip


@pytest.mark.parametrize("digit", [1, 5, 8])
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_surrounds_a_digit_is_not_part_of_it(name, digit):
    alone = preprocess(Image.fromarray(plain(digit))).image.astype(int)
    among = preprocess(with_lines(digit, SURROUNDINGS[name])).image.astype(int)
    assert np.abs(alone - among).sum() < 0.05 * alone.sum()


def test_a_dot_in_a_zero_does_not_make_it_a_frame():
    image = with_lines(0, lambda draw: draw.ellipse((69, 94, 81, 106), fill=0))
    assert np.ptp(np.argwhere(preprocess(image).image > 128)[:, 0]) >= 18


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_cropped_to_its_ink_is_what_it_is_with_a_margin(digit, trained_network):
    mask = digits.ink(digit, (300, 300), 200, 34, 60, 50)
    rows, columns = (np.flatnonzero((mask > 0.5).any(axis=axis)) for axis in (1, 0))
    tight = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if tight.mean() > 0.6:
        pytest.skip("a bar that fills its box shows nothing else")
    image = Image.fromarray((255 - 255 * tight).astype(np.uint8))
    whole = Image.fromarray((255 - 255 * mask).astype(np.uint8))
    cropped, margin = (trained_network.predict(preprocess(i).image[None])[0].argmax() for i in (image, whole))
    assert cropped == margin


@pytest.mark.parametrize("digit", [2, 4, 9])
def test_faint_strokes_that_join_strong_ones_are_kept(digit):
    mask = digits.ink(digit, (28, 28), 20, 1.3, 7, 4)
    pressed = np.linspace(1, 0.3, 28)[:, None]
    strong, faint = (Image.fromarray((255 - 255 * part).astype(np.uint8)) for part in (mask, mask * pressed))
    found = [np.argwhere(preprocess(image).image > 40) for image in (strong, faint)]
    assert np.abs(found[0].max(axis=0) - found[1].max(axis=0)).max() <= 2


def test_the_reflection_of_a_lamp_beside_a_digit_is_not_ink():
    y, x = np.mgrid[:200, :160]
    board = 170 + 80 * np.exp(-(((x - 130) / 18) ** 2) - ((y - 30) / 22) ** 2)
    mask = digits.ink(3, SIZE, 90, 10, 40, 70)
    lit = Image.fromarray((board * (1 - 0.7 * mask)).astype(np.uint8))
    alone = preprocess(Image.fromarray((255 - 255 * mask).astype(np.uint8))).image.astype(int)
    assert np.abs(alone - preprocess(lit).image.astype(int)).sum() < 0.25 * alone.sum()


@pytest.mark.parametrize("strength", [10, 30, 60])
def test_noise_of_any_strength_is_blank(strength):
    grey = 128 + digits.noise((90, 70), strength, 0)[..., 0]
    with pytest.raises(ImageError, match="blank"):
        preprocess(Image.fromarray(grey.clip(0, 255).astype(np.uint8)))

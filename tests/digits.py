"""Ten images of digits, drawn by hand as strokes, in ten different circumstances.

Each function of `IMAGES` writes one file and is called after what it shows: `digit_7_in_a_corner...`.
The points of a stroke are [x, y] in a box of width 0.7 and height 1, y downwards.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

STROKES = {
    0: [[(0.42, 0.03), (0.18, 0.14), (0.04, 0.5), (0.15, 0.88), (0.36, 0.98), (0.6, 0.8), (0.66, 0.42),
         (0.54, 0.12), (0.38, 0.02)]],
    1: [[(0.44, 0.0), (0.4, 0.35), (0.34, 0.7), (0.3, 1.0)]],
    2: [[(0.08, 0.22), (0.22, 0.04), (0.46, 0.02), (0.6, 0.2), (0.5, 0.48), (0.25, 0.75), (0.04, 0.96)],
        [(0.04, 0.96), (0.35, 0.93), (0.68, 0.97)]],
    3: [[(0.1, 0.1), (0.34, 0.0), (0.56, 0.12), (0.52, 0.34), (0.26, 0.47)],
        [(0.26, 0.47), (0.54, 0.54), (0.62, 0.76), (0.42, 0.97), (0.05, 0.93)]],
    4: [[(0.22, 0.02), (0.14, 0.3), (0.06, 0.56), (0.4, 0.53), (0.7, 0.5)],
        [(0.54, 0.14), (0.5, 0.6), (0.47, 1.0)]],
    5: [[(0.16, 0.03), (0.14, 0.25), (0.1, 0.45), (0.36, 0.4), (0.6, 0.56), (0.56, 0.85), (0.3, 0.98),
         (0.04, 0.9)],
        [(0.16, 0.04), (0.4, 0.05), (0.64, 0.01)]],
    6: [[(0.5, 0.0), (0.24, 0.24), (0.08, 0.6), (0.14, 0.9), (0.38, 0.98), (0.58, 0.82), (0.52, 0.6),
         (0.3, 0.55), (0.12, 0.72)]],
    7: [[(0.03, 0.08), (0.3, 0.06), (0.64, 0.04)], [(0.64, 0.04), (0.48, 0.38), (0.34, 0.7), (0.26, 1.0)]],
    8: [[(0.56, 0.12), (0.34, 0.0), (0.14, 0.14), (0.26, 0.38), (0.5, 0.6), (0.56, 0.84), (0.34, 0.99),
         (0.1, 0.86), (0.18, 0.6), (0.46, 0.36), (0.57, 0.14)]],
    9: [[(0.56, 0.16), (0.34, 0.02), (0.12, 0.2), (0.18, 0.45), (0.4, 0.48), (0.56, 0.2), (0.57, 0.16)],
        [(0.57, 0.16), (0.54, 0.5), (0.5, 0.75), (0.44, 1.0)]],
}  # fmt: skip


def smooth(points):
    """A curve through all the points (Catmull-Rom), as many short pieces."""
    points = np.array([points[0], *points, points[-1]], float)
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False):
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    return np.concatenate([*pieces, points[-1:]])


def ink(digit, size, height, pen, left, top):
    """A mask, 0 to 1 [rows, columns]: the digit with its upper left corner at (left, top), in pixels."""
    fine = 4 if max(size) < 1500 else 1
    mask = Image.new("L", (fine * size[0], fine * size[1]))
    draw = ImageDraw.Draw(mask)
    for stroke in STROKES[digit]:
        path = fine * (smooth(stroke) * height + (left, top))
        r = fine * pen / 2
        for x, y in path:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        draw.line([tuple(point) for point in path], fill=255, width=max(1, round(2 * r)), joint="curve")
    return np.asarray(mask.resize(size, Image.Resampling.BOX), float) / 255


def picture(background, mask, colour):
    """The mask in a colour over a background [rows, columns, 3], as a Pillow image."""
    mixed = background * (1 - mask[..., None]) + np.array(colour) * mask[..., None]
    return Image.fromarray(np.clip(mixed, 0, 255).round().astype(np.uint8))


def plain(size, colour):
    return np.ones((size[1], size[0], 1)) * colour


def noise(size, strength, seed):
    return np.random.default_rng(seed).normal(0, strength, (size[1], size[0], 1))


def digit_0_photo_in_uneven_light(path):
    """Blue pen on paper; the lamp stands at the right, the camera is noisy."""
    size = (1200, 900)
    y, x = np.mgrid[:900, :1200] / 900
    light = (110 + 90 * x - 30 * y)[..., None] * (1.0, 0.97, 0.88)
    image = picture(light, ink(0, size, 380, 26, 420, 260), (40, 50, 120))
    noisy = np.asarray(image, float) + noise(size, 9, 0)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path.with_suffix(".jpg"), quality=80)
    return path.with_suffix(".jpg")


def digit_1_thin_pen_on_a_huge_sheet(path):
    """A scan of 12 million pixels; the pen is 9 pixels wide."""
    size = (3000, 4000)
    mask = ink(1, size, 1500, 9, 1000, 1300)
    image = Image.fromarray((245 - 200 * mask).round().astype(np.uint8))
    image.save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def digit_2_black_on_transparent(path):
    """What a drawing program saves: all pixels black, the drawing in the alpha channel."""
    mask = ink(2, (400, 400), 260, 20, 100, 70)
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[..., 3] = (255 * mask).round()
    Image.fromarray(pixels).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


def digit_3_chalk_on_a_blackboard(path):
    size = (640, 480)
    board = plain(size, (38, 60, 48)) + noise(size, 6, 3)
    chalk = ink(3, size, 300, 22, 200, 90) * np.random.default_rng(33).uniform(0.55, 1, (480, 640))
    picture(board, chalk, (235, 235, 225)).save(path.with_suffix(".jpg"), quality=70)
    return path.with_suffix(".jpg")


def digit_4_tiny(path):
    """16 x 20 pixels, black on white."""
    mask = ink(4, (16, 20), 14, 1.6, 3, 3)
    Image.fromarray((255 - 255 * mask).round().astype(np.uint8)).save(path.with_suffix(".bmp"))
    return path.with_suffix(".bmp")


def digit_5_thick_marker(path):
    """A red marker, a fifth as wide as the digit is high."""
    size = (500, 600)
    picture(plain(size, (250, 250, 250)), ink(5, size, 340, 66, 130, 130), (200, 30, 30)).save(
        path.with_suffix(".tif")
    )
    return path.with_suffix(".tif")


def digit_6_palette(path):
    """A GIF of eight colours: yellow on violet."""
    size = (200, 240)
    image = picture(plain(size, (70, 20, 110)), ink(6, size, 170, 12, 45, 35), (250, 220, 60))
    image.quantize(8).save(path.with_suffix(".gif"))
    return path.with_suffix(".gif")


def digit_7_in_a_corner_of_a_dim_photo(path):
    """Small, far off the centre, dark corners (vignette), and a speck of dust elsewhere."""
    size = (800, 600)
    y, x = np.mgrid[-1:1:600j, -1:1:800j]
    light = (150 - 55 * (x * x + y * y))[..., None] * np.ones(3)
    mask = ink(7, size, 120, 8, 620, 400)
    mask[100:106, 200:206] = 1
    noisy = np.asarray(picture(light, mask, (45, 45, 50)), float) + noise(size, 5, 7)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path.with_suffix(".jpg"), quality=85)
    return path.with_suffix(".jpg")


def digit_8_photo_turned_by_the_camera(path):
    """The pixels lie on their side; as the EXIF data tell."""
    size = (480, 640)
    image = picture(plain(size, (225, 220, 210)), ink(8, size, 330, 20, 110, 150), (60, 60, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    image.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".jpg"), exif=exif)
    return path.with_suffix(".jpg")


def digit_9_sixteen_bits(path):
    """A scan with 65,536 levels of grey, of which it uses few: light pencil."""
    mask = ink(9, (300, 360), 220, 13, 70, 60)
    Image.fromarray((30000 - 6000 * mask).round().astype(np.uint16)).save(path.with_suffix(".png"))
    return path.with_suffix(".png")


IMAGES = [made for name, made in sorted(globals().items()) if name.startswith("digit_")]


def draw_all(directory: Path) -> dict[Path, int]:
    """Draw all ten; returns each file and the digit that it shows."""
    return {made(directory / made.__name__): int(made.__name__.split("_")[1]) for made in IMAGES}


if __name__ == "__main__":  # to look at them
    import sys

    for file in draw_all(Path(sys.argv[1])):
        print(file)

"""Reads an image file, upright, as lightness from 0 black to 1 white, in little memory.

A photograph may have 200 million pixels, and a file of 100 bytes may claim as many. Of a JPEG no more
detail is decoded than is needed. Any other image is decoded whole, if its pixels fit `limits.PIXELS`, and
then made smaller a strip at a time, before anything is computed with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from minicnn.storage import limits
from minicnn.storage.files import PathLike, open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

# What cameras, scanners, browsers and drawing programs write. Pillow reads more, but EPS, for example,
# is a program: Pillow has Ghostscript run it.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

LARGEST = 640  # larger images are scaled down to this many pixels a side: 32 times what preprocessing needs
STRIP = 1 << 20  # pixels that are made smaller at a time

PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # any other mode: 4
# How often the decoder has the pixels in memory; others once. (TIFF is turned upright while it is decoded.)
COPIES = {"AVIF": 3, "GIF": 2, "JPEG2000": 4, "TIFF": 2, "WEBP": 3}
ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held


class ImageError(ValueError):
    """An image that cannot be used. The message is one line: which file, and what is wrong."""


class Encoded(NamedTuple):
    """An image file that lies within another file: its bytes, and what error messages call it."""

    content: bytes
    name: str


class _TooLargeError(Exception):
    """An image whose pixels would take too much memory; the message is how many it has."""


def lightness_of(source: PathLike | Image) -> tuple[str, np.ndarray]:
    """The name of an image for error messages, and its lightness: float32, at most `LARGEST` a side.

    Raises ImageError if the file cannot be read, is in none of the `FORMATS`, or is too large.
    """
    from PIL import Image

    if isinstance(source, Image.Image):
        return "image", _lightness(source)
    with _opened(source) as image:
        return os.fspath(source), _lightness(image)


def _contents(source: PathLike | Encoded) -> BinaryIO:
    """The bytes of an image, open for reading."""
    return io.BytesIO(source.content) if isinstance(source, Encoded) else open_regular(source, limits.IMAGE)


@contextlib.contextmanager
def _opened(source: PathLike | Encoded) -> Iterator[Image]:
    """The image in a file, not decoded yet; whatever goes wrong within is an ImageError."""
    from PIL import Image, UnidentifiedImageError

    name = source.name if isinstance(source, Encoded) else os.fspath(source)
    try:
        with _contents(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and pixels, which are counted here
            Image.init()  # which formats this build of Pillow supports
            formats = [known for known in (*FORMATS, *_heif(file)) if known in Image.OPEN]
            with Image.open(file, formats=formats) as image:
                _expect_room(image, file)
                yield image
    except UnidentifiedImageError:
        raise ImageError(f"{name}: {_what_else(source)}") from None
    except (_TooLargeError, Image.DecompressionBombError) as error:
        size = error if isinstance(error, _TooLargeError) else "more pixels than Pillow reads"
        remedy = "save it with fewer, or cut the digit out"
        raise ImageError(f"{name}: image too large: {size}; {remedy}") from None
    except MemoryError:
        raise ImageError(f"{name}: out of memory while the image is decoded") from None
    except Exception as error:  # Pillow's decoders raise all kinds of exceptions for damaged files
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"{name}: cannot be read ({error.strerror})") from None
        raise ImageError(f"{name}: damaged, or not an image ({error or type(error).__name__})") from None


def pixels_of(source: PathLike | Encoded | Image, size: int | None = None) -> np.ndarray:
    """The pixels of an image file as they are: uint8 [H, W, 3], transparent ones white.

    With `size`, scaled until the longer side has so many pixels, and centred on a square of the colour that
    most of its border has. Raises ImageError as `lightness_of` does.
    """
    from PIL import Image, ImageOps

    opened = contextlib.nullcontext(source) if isinstance(source, Image.Image) else _opened(source)
    with opened as image:
        image = ImageOps.exif_transpose(_smaller(image))
        if image.mode == "F":
            values = np.nan_to_num(np.asarray(image, np.float32))
            image = Image.fromarray(np.rint(255 * values / max(float(values.max()), 1e-30)).astype(np.uint8))
        if image.mode == "RGBA":
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image)
        image = image.convert("RGB")
        if size is not None and image.size != (size, size):
            pixels = np.asarray(image)
            border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            colour = tuple(int(value) for value in np.median(border, axis=0))
            smaller = max(image.size) > size
            how = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
            image = ImageOps.pad(image, (size, size), how, colour)
        return np.asarray(image)


def resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values [H, W] resampled to another shape; when scaling down, pixels are averaged, not skipped."""
    from PIL import Image

    if values.shape == shape:
        return values
    smaller = shape[0] < values.shape[0]
    how = Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.clip(np.asarray(image.resize((shape[1], shape[0]), how)), 0, 1)


# --- what is in the file ---


def _is_heif(file: BinaryIO) -> bool:
    start = file.read(12)
    file.seek(0)
    return start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif", b"msf")


def _heif(file: BinaryIO) -> tuple[str, ...]:
    """The name of HEIC as a format, if the file is one and the package that reads it is installed."""
    if not _is_heif(file):
        return ()
    try:
        import pillow_heif
    except ImportError:
        return ()
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _what_else(source: PathLike | Encoded) -> str:
    """Why a file is not one of the `FORMATS`."""
    with _contents(source) as file:
        heif = _is_heif(file)
    if heif:
        return 'HEIC, the format of iPhones: pip install "minicnn[heic]", or save the photograph as JPEG'
    return f"not an image, or not one of {', '.join(FORMATS)}"


def _expect_room(image: Image, file: BinaryIO) -> None:
    """Let no more detail be decoded than is needed; raise _TooLargeError if that takes too much memory.

    Only the header of the image has been read so far.
    """
    W, H = image.size
    needed = 0.0
    if image.format in ("JPEG", "MPO"):
        needed = 2 * _coefficients(file) * W * H
        image.draft("RGB", (LARGEST, LARGEST))
    decoded = image.width * image.height * PIXEL_BYTES.get(image.mode, 4)
    needed += decoded * COPIES.get(image.format or "", 1)
    if needed > limits.PIXELS:
        raise _TooLargeError(f"{W:,} x {H:,} pixels")


def _coefficients(file: BinaryIO) -> float:
    """How many numbers for each pixel a JPEG decoder keeps until it has seen all scans; 0 for a single scan.

    A progressive JPEG refines the whole image in each scan; any other may have a scan for each colour.
    """
    place, components, kept = file.tell(), 0, 4.0
    progressive = False
    file.seek(2)
    try:
        while file.read(1) == b"\xff":
            while (kind := file.read(1)) == b"\xff":  # filled up
                pass
            segment = file.read(max(0, int.from_bytes(file.read(2), "big") - 2))
            if kind == b"\xda":  # start of a scan
                return kept if progressive or segment[0] != components else 0
            if kind in (b"\xc0", b"\xc1", b"\xc2", b"\xc9", b"\xca"):  # start of the frame
                components, progressive = segment[5], kind in (b"\xc2", b"\xca")
                sampling = [(one >> 4, one & 15) for one in segment[7 : 6 + 3 * components : 3]]
                largest = max(h for h, _ in sampling) * max(v for _, v in sampling)
                kept = sum(h * v for h, v in sampling) / largest
        return kept
    except (IndexError, ValueError, ZeroDivisionError):  # damaged
        return kept
    finally:
        file.seek(place)


# --- its lightness ---


def _lightness(image: Image) -> np.ndarray:
    """The lightness of an image, upright, scaled down if it is large."""
    from PIL import ImageOps

    image = _smaller(image)
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":  # more than 8 bits of grey
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        return _shrunk((values - low) / max(high - low, 1e-30))
    if image.mode == "RGBA":
        return _shrunk(_on_paper(image))
    grey = _shrunk(_as_float(image.convert("L")))
    if image.mode == "L":
        return grey
    # Red ink may be just as light as green paper, for example: then a single colour channel shows it.
    colours = [_shrunk(_as_float(channel)) for channel in image.split()]
    best = max(colours, key=np.ptp)
    return best if np.ptp(best) > 2 * np.ptp(grey) else grey


def _smaller(image: Image) -> Image:
    """The image in one of the modes L, F, RGB, RGBA, with less than four times `LARGEST` pixels a side."""
    from PIL import Image

    factor = max(image.size) // (2 * LARGEST)
    if factor < 2:
        small = _in_few_modes(image)
    else:
        W, H = image.size
        rows = factor * max(1, STRIP // (W * factor))
        strips = []
        for top in range(0, H, rows):
            strip = image.crop((0, top, W, min(top + rows, H)))
            strips.append(_in_few_modes(strip).reduce(factor))
        small = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
        for number, strip in enumerate(strips):
            small.paste(strip, (0, number * (rows // factor)))
    small.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return small


def _in_few_modes(image: Image) -> Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return image.convert("F")
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _as_float(channel: Image) -> np.ndarray:
    return np.asarray(channel, np.float32) / 255


def _on_paper(image: Image) -> np.ndarray:
    """The lightness of an image with transparency, on white or black paper, whichever shows it better."""
    grey = _as_float(image.convert("RGB").convert("L"))
    alpha = _as_float(image.getchannel("A"))
    shown = float((alpha * grey).sum()) / max(float(alpha.sum()), 1e-6)
    paper = 1.0 if shown < 0.5 else 0.0
    return alpha * grey + (1 - alpha) * paper


def _shrunk(grey: np.ndarray) -> np.ndarray:
    H, W = grey.shape
    scale = LARGEST / max(H, W)
    if scale >= 1:
        return grey
    return resized(grey, (max(1, round(scale * H)), max(1, round(scale * W))))

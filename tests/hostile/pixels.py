"""Hostile data sets and images."""

import gzip
import os
import struct
import zlib

from cases import AS_IS, BILLION, IDX, case, content, renamed

from minicnn.storage import limits

# --- IDX ---


@content(*IDX)
def a_claim_of_all_that_four_bytes_can_say(good):
    return b"\0\0\x08" + good[3:4] + b"\xff" * 4 * good[3] + good[4 + 4 * good[3] :]


@case(*IDX)
def as_many_sparse_values_as_are_read(path, good):
    path.write_bytes(b"\0\0\x08\x01" + struct.pack(">I", limits.IDX))
    os.truncate(path, 8 + limits.IDX)


@content(*IDX)
def a_claim_of_a_gigabyte(good):
    return b"\0\0\x08\x01" + struct.pack(">I", BILLION) + good


@content(*IDX)
def thirty_two_dimensions(good):
    return b"\0\0\x08\x20" + struct.pack(">32I", *[1] * 32) + b"x"


@content(*IDX)
def no_images(good):
    return b"\0\0\x08" + good[3:4] + bytes(4 * good[3])


@content(*IDX)
def numbers_of_another_type(good):
    return b"\0\0\x0d" + good[3:]


@content(*IDX)
def a_gzip_bomb(good):
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = squeeze.compress(b"\0\0\x08\x01" + struct.pack(">I", 90_000_000))
    for _ in range(90):
        bomb += squeeze.compress(bytes(1_000_000))
    return bomb + squeeze.flush()


@content(*IDX)
def gzip_in_gzip(good):
    return gzip.compress(gzip.compress(good))


@content(*IDX)
def two_gzip_members(good):
    return gzip.compress(good) * 2


@content("labels")
def a_label_of_200(good):
    return good[:-1] + b"\xc8"


# --- images ---


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, colour, *more, data=b"\0" * 99):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def image(name, data, *other_kinds, **more):
    return content("image", *other_kinds, **more)(
        renamed(name, lambda good: data() if callable(data) else data)
    )


def jpeg(side, frame=b"\xc2", scan_components=3):
    components = b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3))
    segments = [
        (b"\xdb", bytes(1) + bytes([1] * 64)),
        (frame, struct.pack(">BHHB", 8, side, side, 3) + components),
        (b"\xc4", bytes([0]) + bytes([1] + [0] * 15) + b"\0"),
        (
            b"\xda",
            bytes([scan_components])
            + b"".join(bytes([n + 1, 0]) for n in range(scan_components))
            + b"\0\0\0",
        ),
    ]
    return (
        b"\xff\xd8"
        + b"".join(b"\xff" + k + struct.pack(">H", len(d) + 2) + d for k, d in segments)
        + bytes(50)
        + b"\xff\xd9"
    )


def tiff(side, *tags):
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), *tags]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 8) + bytes(64)


def gif(size, frame):
    screen = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", *frame, 0) + b"\x02\x02\x44\x01\0;"


def bmp(side):
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 32, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + header


def jpeg_2000(side):
    sizes = struct.pack(">8I", side, side, 0, 0, side, side, 0, 0)
    return b"\xff\x4f\xff\x51\0\x29\0\0" + sizes + b"\0\x01\x07\x01\x01" + bytes(20)


image("a PNG that claims 9,450 x 9,450 in colour", png(9450, 9450, 6))
image("a PNG that claims 12,000 x 12,000 in colour", png(12_000, 12_000, 2), "picture")
image("a PNG that claims 9,450 x 9,450 in grey", png(9450, 9450, 0))
image("a PNG that claims 65,000 x 65,000", png(65_000, 65_000, 0), "picture")
image(
    "a PNG with a text of 99 MB",
    png(20, 20, 0, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000), 9))),
)
image(
    "a PNG with a profile of 20 MB",
    png(20, 20, 0, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(20_000_000), 9))),
)
image("a PNG with too many pixels", png(20, 20, 0, data=bytes(20_000_000)), read_by=AS_IS)
image("a GIF of 43 bytes that claims 9,450 x 9,450", gif((9450, 9450), (0, 0, 9450, 9450)))
image("a GIF with a frame larger than itself", gif((9, 9), (60_000, 60_000, 5000, 5000)))
image("a progressive JPEG that claims 13,000 x 13,000", jpeg(13_000))
image("a JPEG with a scan for each colour of 13,000 x 13,000", jpeg(13_000, b"\xc0", scan_components=1))
image("a JPEG whose segment has no length", b"\xff\xd8\xff\xe0\0\0" * 100)
image(
    "a TIFF with a tile of 60,000 x 60,000",
    tiff(20, (322, 4, 60_000), (323, 4, 60_000), (324, 4, 8), (325, 4, 64)),
)
image("a TIFF that claims 60,000 x 60,000", tiff(60_000, (273, 4, 8), (278, 4, 60_000), (279, 4, 64)))
image("a BMP that claims 12,000 x 12,000", bmp(12_000))
image("a PPM that claims 12,000 x 12,000", b"P6 12000 12000 255\n" + bytes(99))
image("a PPM of text that claims 9,000 x 9,000", b"P3 9000 9000 255\n" + b"1 " * 99)
image(
    "a WEBP that claims 16,383 x 16,383",
    b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0VP8 \0\0\0\0",
)
image("a JPEG 2000 that claims 60,000 x 60,000", jpeg_2000(60_000))
image("a program in PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n{} loop\n%%EOF\n")
image("an HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
image("an SVG", b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>')
image("a PDF", b"%PDF-1.4\n%%EOF\n")
image("a blank image", png(60, 60, 0, data=bytes(61 * 60)), read_by=AS_IS)
image("one pixel", png(1, 1, 0, data=bytes(2)), read_by=AS_IS)
image("a line of 30,000 pixels", png(30_000, 1, 0, data=bytes(30_001)), read_by=AS_IS)

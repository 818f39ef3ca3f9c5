"""Hostile data sets in files of their own: CSV tables, NumPy archives, CIFAR's files, parquet, labels.csv."""

import io
import struct
import zipfile

import numpy as np
from cases import BILLION, content

# --- CSV ---


@content("csv")
def a_row_of_a_million_columns(good):
    return good.splitlines()[0] + b"\n" + b"1," * 40_000 + b"1\n"


@content("csv")
def a_header_alone(good):
    return good.splitlines()[0] + b"\n"


@content("csv")
def ninety_thousand_label_columns(good):
    return b"label," * 15_000 + b"p\n" + b"1," * 15_000 + b"1\n"


@content("csv")
def numbers_that_are_too_large(good):
    return good.replace(b"\n1,", b"\n99999999999999999999,", 1)


@content("csv")
def negative_numbers(good):
    return good.replace(b"\n1,", b"\n-1,", 1)


@content("csv")
def escapes_in_a_field(good):
    return good.replace(b"\n1,", b"\n\x1b[2J\x1b]0;title\x07,", 1)


# --- NumPy archives ---


def archive(x=None, y=None, claim=None, **more):
    """The bytes of an archive; `claim` replaces the shape in the header of x."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8) if x is None else x
    y = np.arange(20) % 2 if y is None else y
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {"x": x, "y": y, **more}.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=True)
            raw = data.getvalue()
            if name == "x" and claim is not None:
                shape = repr(array.shape).encode() + b", }"
                raw = raw.replace(shape.ljust(len(claim) + 3), claim + b", }", 1)
                assert claim in raw
            archive.writestr(f"{name}.npy", raw)
    return file.getvalue()


@content("npz")
def a_shape_of_a_billion_images(good):
    return archive(claim=f"({BILLION},8)".encode())


@content("npz")
def arrays_of_objects(good):
    return archive(x=np.array([object] * 20))


@content("npz")
def labels_that_are_not_finite(good):
    return archive(y=np.full(20, np.nan))


@content("npz")
def a_billion_times_the_same_byte(good):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        header = np.lib.format.magic(1, 0) + struct.pack("<H", 118)
        header += b"{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }".ljust(117) + b"\n"
        bomb.writestr("x.npy", header + bytes(50_000_000))
        bomb.writestr("y.npy", header + bytes(10))
    return file.getvalue()


@content("npz")
def no_arrays(good):
    return archive()[-22:]


# --- CIFAR ---


@content("cifar")
def a_byte_too_many(good):
    return good + b"\0"


# --- names of classes ---


@content("names")
def names_with_escapes(good):
    return b"\x1b[2J\x1b]0;title\x07\n" * 10


# --- parquet ---


@content("parquet")
def a_footer_of_four_gigabytes(good):
    return good[:-8] + b"\xff\xff\xff\xff" + good[-4:]


@content("parquet")
def an_encrypted_footer(good):
    return b"PARE" + good[4:-4] + b"PARE"


@content("parquet")
def no_footer(good):
    return good[:4] + b"\0\0\0\0" + good[:4]


@content("parquet")
def a_footer_of_random_bytes(good):
    size = int.from_bytes(good[-8:-4], "little")
    return good[: -8 - size] + np.random.default_rng(0).bytes(size) + good[-8:]


@content("parquet")
def pages_of_zeros(good):
    size = int.from_bytes(good[-8:-4], "little")
    return good[:4] + bytes(len(good) - size - 12) + good[-8 - size :]


# --- labels.csv ---


@content("listed")
def a_path_out_of_the_folder(good):
    return good + b"../image.png,0\n"


@content("listed")
def an_absolute_path(good):
    return good + b"/etc/passwd,0\n"


@content("listed")
def a_picture_that_is_not_there(good):
    return good + b"99.png,0\n"


@content("listed")
def a_label_with_escapes(good):
    return good.replace(b"1.png,1\n", b"1.png,\x1b[2J\x1b]0;title\x07\n", 1) + b"picture-0.png\n"


@content("listed")
def a_field_of_ninety_thousand_characters(good):
    return good + b"a" * 90_000 + b",0\n"

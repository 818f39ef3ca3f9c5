"""What stands in for any file, for a directory, and for a good environment."""

import gzip
import os
import socket

import numpy as np
from cases import BEGINNING, FILES, HTML, IDX, REPAIRED, case, content

PICKLE = b"cos\nsystem\n(S'touch PWNED'\ntR."


# --- in the place of any file ---


@case(*FILES, read_by=BEGINNING)
def nothing(path, good):
    path.unlink()


@case(*FILES, read_by=REPAIRED)
def a_link_to_nothing(path, good):
    path.unlink()
    path.symlink_to("nowhere")


@case(*FILES, "picture")
def a_directory(path, good):
    path.unlink()
    path.mkdir()


@case(*FILES, "picture")
def a_named_pipe(path, good):
    path.unlink()
    os.mkfifo(path)


@case(*FILES)
def a_link_to_a_named_pipe(path, good):
    path.unlink()
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@case(*FILES, "picture")
def a_link_to_an_endless_device(path, good):
    path.unlink()
    path.symlink_to("/dev/zero")


@case(*FILES, "picture")
def a_link_to_itself(path, good):
    path.unlink()
    path.symlink_to(path.name)


@case(*FILES)
def a_socket(path, good):
    path.unlink()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    socket.socket(socket.AF_UNIX).bind(path.name)


@case(*FILES, "picture")
def five_sparse_gigabytes(path, good):
    with open(path, "wb") as file:
        file.write(good)
        file.truncate(5 << 30)


@content(*FILES, read_by=REPAIRED)
def no_bytes(good):
    return b""


@content(*FILES, read_by=REPAIRED)
def one_byte(good):
    return good[:1]


@content(*FILES, read_by=REPAIRED)
def half_of_it(good):
    return good[: len(good) // 2 + 1]


@content(*FILES, read_by=REPAIRED | {kind: [""] for kind in ("image", "weights", "npz", "pixels")})
def bytes_after_it(good):
    return good + bytes(range(100))


@content(*FILES, read_by=REPAIRED | {"cifar": [""]})
def random_bytes(good):
    return np.random.default_rng(0).bytes(len(good))


@content(*FILES, "picture", read_by=REPAIRED)
def zeros(good):
    return bytes(1000)


@content(*FILES, read_by=REPAIRED)
def a_pickle(good):
    return PICKLE


@content(*FILES, "picture", read_by=REPAIRED)
def a_web_page(good):
    return HTML


@content(*FILES, read_by=REPAIRED | {kind: [""] for kind in (*IDX, "csv")})
def itself_gzipped(good):
    return gzip.compress(good)


# --- directories ---


@case("run", "data")
def no_directory(path, good):
    path.rename(path.with_name("elsewhere"))


@case("run", "data")
def an_empty_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


@case("run", "data")
def a_file_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(HTML)


@case("run", "data")
def a_pipe_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    os.mkfifo(path)


@case("run", "data")
def a_device_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("/dev/zero")


@case("run", "data")
def a_link_to_itself_for_a_directory(path, good):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.name)


@case("data")
def files_with_other_names(path, good):
    for file in path.iterdir():
        file.rename(file.with_name(f"{file.name}.txt"))


@case("data", read_by=[""])
def a_directory_of_the_same_name_beside_a_file(path, good):
    for file in list(path.iterdir()):
        file.rename(file.with_name(file.name.replace("-idx", ".idx")))
        file.mkdir()


# --- environments: functions that a process calls before it runs a command on good files ---


def environment(read_by):
    return case("environment", read_by=read_by)


@environment(read_by=[])
def a_working_directory_that_is_gone(place):
    place.joinpath("gone").mkdir()
    os.chdir(place / "gone")
    os.rmdir(place / "gone")


@environment(read_by=[""])
def no_home(place):
    os.environ.update(HOME="/nonexistent", XDG_CACHE_HOME="/dev/null", TMPDIR="/nonexistent")


@environment(read_by=[""])
def no_stdin(place):
    os.close(0)


@environment(read_by=[""])
def nobody_who_reads_errors(place):
    os.close(2)

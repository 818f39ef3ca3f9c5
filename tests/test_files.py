"""Files: only regular ones are read and replaced, symbolic links are followed, writing is all or nothing."""

import errno
import os
import stat

import pytest

from minicnn.storage import files
from minicnn.storage.files import (
    make_directory,
    open_regular,
    read_regular,
    remove_leftovers,
    write_whole,
)


@pytest.fixture
def odd(tmp_path):
    """Everything with a name that is not a regular file and can be made without privileges."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return tmp_path


ODD = ["pipe", "directory", "link", "null"]


@pytest.mark.parametrize("name", ODD)
def test_only_regular_files_are_opened(odd, name):
    with pytest.raises(OSError, match="not a regular file") as caught:
        open_regular(odd / name, 100)
    assert caught.value.filename == str(odd / name)


def test_a_regular_file_is_opened_for_reading_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(str(tmp_path / name), 4) as file:
            assert file.read() == b"text"
        assert read_regular(tmp_path / name, 4) == b"text"


def test_a_file_with_more_bytes_than_the_limit_is_not_opened(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(OSError, match="too large: expected at most 1,000 bytes, got 5,368,709,120"):
        read_regular(tmp_path / "sparse", 1000)


def test_what_becomes_a_pipe_between_the_look_and_the_opening_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(files, "_expect_regular", lambda path: None)  # it was a file when it was looked at
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(tmp_path / "pipe", 100)


def test_of_a_file_that_grows_meanwhile_no_more_is_read_than_the_limit(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"text")

    def open_and_grow(path, limit):
        file = open_regular(path, limit)
        os.truncate(path, 1 << 20)
        return file

    monkeypatch.setattr(files, "open_regular", open_and_grow)
    assert read_regular(tmp_path / "file", 10) == b"text" + bytes(6)


@pytest.mark.parametrize("name", [*ODD, "loop"])
def test_only_regular_files_are_replaced(odd, name):
    before = {path: os.lstat(path) for path in odd.iterdir()}
    with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
        write_whole(odd / name, b"text")
    assert {path: os.lstat(path) for path in odd.iterdir()} == before
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, exists):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    if exists:
        target.write_text("old")
    link.symlink_to(os.path.join("elsewhere", "file"))
    write_whole(link, b"ne", b"w")
    assert os.readlink(link) == "elsewhere/file"
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_the_old_contents_keep_a_name_if_asked(tmp_path):
    for text in (b"first", b"second", b"third"):
        write_whole(tmp_path / "file", text, previous=tmp_path / "previous")
    assert (tmp_path / "file").read_text() == "third"
    assert (tmp_path / "previous").read_text() == "second"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "file", b"new", "not bytes")
    with pytest.raises(OSError, match="No such file or directory"):
        write_whole(tmp_path / "no" / "file", b"new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_leftovers_are_removed_where_a_link_points_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/file")
    for name in (".file.0123abcd", ".file.link", ".other.0123abcd"):
        (tmp_path / "elsewhere" / name).touch()
    remove_leftovers(tmp_path / "link")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == [".other.0123abcd"]


# --- file systems that cannot flush the names in a directory ---


@pytest.fixture(params=["EINVAL", "ENOTSUP", "EBADF", "EACCES", "EPERM", "ENOSYS", "EIO"])
def no_directory_fsync(request, monkeypatch):
    """A file system on which fsync of a directory fails with this error."""
    number, fsync, calls = getattr(errno, request.param), os.fsync, []

    def fsync_files_only(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            calls.append(handle)
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync_files_only)
    yield
    assert calls


@pytest.mark.usefixtures("no_directory_fsync")
def test_where_directories_cannot_be_flushed_files_are_written_all_the_same(tmp_path):
    make_directory(tmp_path / "a" / "b")
    for text in (b"first", b"second"):
        write_whole(tmp_path / "a" / "b" / "file", text, previous=tmp_path / "a" / "b" / "previous")
    assert {path.name: path.read_text() for path in (tmp_path / "a" / "b").iterdir()} == {
        "file": "second",
        "previous": "first",
    }


def test_into_a_directory_that_cannot_be_opened_files_are_written_all_the_same(tmp_path, monkeypatch):
    def refuse(path, *arguments, opened=os.open, **more):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    write_whole(tmp_path / "file", b"text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.usefixtures("no_directory_fsync")
def test_where_directories_cannot_be_flushed_a_run_begins_and_is_saved(tmp_path):
    from runs import new_run, reopen

    run = new_run(tmp_path / "runs" / "r", steps=2)
    run.train_one_batch()
    run.save()
    assert reopen(run.directory).step == 1


@pytest.mark.parametrize("in_use", [1, 3])
def test_a_file_that_windows_says_is_in_use_is_replaced_when_it_is_free(tmp_path, monkeypatch, in_use):
    tries, replace = [], os.replace

    def refused(source, target):
        tries.append(target)
        if len(tries) <= in_use:
            error = PermissionError(errno.EACCES, "in use", target)
            error.winerror = 32
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(tries) == in_use + 1


def test_a_file_that_stays_in_use_is_an_error_and_stays_as_it_was(tmp_path, monkeypatch):
    def refused(source, target):
        error = PermissionError(errno.EACCES, "in use", target)
        error.winerror = 32
        raise error

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with pytest.raises(PermissionError, match="in use"):
        write_whole(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]

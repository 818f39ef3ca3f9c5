"""Files: only regular ones are read and replaced, symbolic links are followed, writing is all or nothing."""

import os
import stat

import pytest

from minicnn.storage.files import open_regular, remove_leftovers, write_whole


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
        open_regular(odd / name)
    assert caught.value.filename == str(odd / name)


def test_a_regular_file_is_opened_for_reading_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(str(tmp_path / name)) as file:
            assert file.read() == b"text"


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

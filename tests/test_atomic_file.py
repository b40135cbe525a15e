"""Files that appear whole or not at all."""

import os

import pytest

from graphexec.atomic_file import replacing


def write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def stopped(path):
    with replacing(path) as temporary:
        temporary.write_text("tw")
        raise KeyboardInterrupt


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    write(tmp_path / "a", "one")
    (tmp_path / "b").write_text("one")
    assert (tmp_path / "a").read_text() == "one"
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "a", "one")
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_and_permissions_stay(tmp_path):
    (tmp_path / "a").write_text("one")
    os.chmod(tmp_path / "a", 0o640)
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "two"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "none" / "a", "one")

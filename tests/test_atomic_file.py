"""Files that appear whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from graphexec.atomic_file import PREFIX, abandon, replacing, require_writable


def write(path, text):
    with replacing(path) as stream:
        stream.write(text.encode())


def stopped(path):
    with replacing(path) as stream:
        stream.write(b"tw")
        raise KeyboardInterrupt


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "a", "one")
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_text() == "one"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "a", "one")
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o444, 0o777])
def test_a_link_stays_and_permissions_stay(tmp_path, mode):
    (tmp_path / "a").write_text("one")
    os.chmod(tmp_path / "a", mode)
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "two"
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


def test_a_link_to_nothing_makes_the_file_that_it_names(tmp_path):
    (tmp_path / "link").symlink_to("a")
    write(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "two"


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none" / "a", "one")


def test_a_folder_in_its_place_is_an_error(tmp_path):
    with pytest.raises(IsADirectoryError):
        write(tmp_path, "one")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
def test_a_device_stays_a_device(tmp_path):
    """A temporary file beside it would replace it."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "full", "one")
    write("/dev/null", "one")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert not [name for name in os.listdir("/dev") if name.startswith(PREFIX)]


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe", "one")
    reader.join(10)
    assert found == ["one"]


KILLED = """\
import os, sys, time
from graphexec.atomic_file import replacing
with replacing(sys.argv[1]) as stream:
    stream.write(b"tw")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_the_next_process_removes_what_a_killed_one_left_and_only_that(tmp_path):
    def start():
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "writing\n"
        return process

    with start() as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    left = os.listdir(tmp_path)
    assert len(left) == 1
    assert left[0].startswith(PREFIX)
    with start() as alive:
        others = set(os.listdir(tmp_path)) - set(left)
        assert len(os.listdir(tmp_path)) == 1, "the second process removed what the first one left"
        write(tmp_path / "b", "one")
        assert set(os.listdir(tmp_path)) == {"b", *others}, "a file that is being written stays"
        alive.kill()


def test_a_process_that_leaves_abandons_its_files(tmp_path):
    def left():
        with replacing(tmp_path / "a"):
            before = os.listdir(tmp_path)
            abandon()
            assert (len(before), os.listdir(tmp_path)) == (1, [])

    with pytest.raises(FileNotFoundError):
        left()


def test_what_can_be_written_is_known_before(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "a", tmp_path / "file", "/dev/null"):
        require_writable(path)
    for path, error in [
        (tmp_path, IsADirectoryError),
        (tmp_path / "none" / "a", FileNotFoundError),
        (tmp_path / "file" / "a", NotADirectoryError),
        (tmp_path / ("x" * 300), OSError),
    ]:
        with pytest.raises(error):
            require_writable(path)

"""The file for a path, or a compressed sibling of it; nothing that is no regular file."""

import os
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.web.fields import ETag, parse_http_date
from gateway.web.files.variants import open_variant, prefer_codings


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain")
    return path


def add_sibling(path, suffix, data):
    path.with_name(path.name + suffix).write_bytes(data)


def read(path, accept_encoding):
    """Return what the file says, its coding, and whether the answer varies."""
    opened = open_variant(path, accept_encoding)
    with opened.file:
        return opened.read(range(opened.size)), opened.coding, opened.has_siblings


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_described_as_it_was_opened(path):
    os.utime(path, ns=(0, 784111777_500000000))
    opened = open_variant(path, "")
    with opened.file:
        assert (opened.size, opened.modified_s) == (5, 784111777.5)
        assert opened.tag == ETag(f"{784111777_500000000:x}-5")
        # A copy from before 08:49:37.5 is not current, whatever it says of second 37.
        assert opened.last_modified == "Sun, 06 Nov 1994 08:49:38 GMT"
        assert opened.read(range(1, 3)) == b"la"
        assert opened.read(range(3, 9)) == b"in"


def test_no_file_is_younger_than_its_answer(path):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    os.utime(path, (0, tomorrow.timestamp()))
    opened = open_variant(path, "")
    with opened.file:
        assert parse_http_date(opened.last_modified) <= datetime.now(UTC)
        assert opened.modified_s == pytest.approx(tomorrow.timestamp())


def test_siblings_are_sent_to_those_who_accept_them(path):
    assert read(path, "gzip, br") == (b"plain", None, False)
    add_sibling(path, ".gz", b"zipped")
    assert read(path, "gzip, br") == (b"zipped", "gzip", True)
    assert read(path, "br") == (b"plain", None, True)
    assert read(path, "") == (b"plain", None, True)
    add_sibling(path, ".br", b"brotli")
    assert read(path, "gzip, br") == (b"brotli", "br", True)
    assert read(path, None) == (b"plain", None, False)


def test_a_sibling_will_do_where_nothing_is_at_the_path(path):
    add_sibling(path, ".gz", b"zipped")
    path.unlink()
    assert read(path, "gzip") == (b"zipped", "gzip", True)
    with pytest.raises(FileNotFoundError):
        read(path, "br")


def test_only_regular_files_are_siblings(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    Path(f"{path}.gz").symlink_to(secret)
    Path(f"{path}.br").mkdir()
    assert read(path, "gzip, br") == (b"plain", None, False)


def test_a_symbolic_link_at_the_path_is_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read(link, "")[0] == b"plain"


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    fifo, bound = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    descriptors_count = count_descriptors()
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(bound))
        for path in (fifo, bound, tmp_path, Path("/dev/null"), Path("/"), Path()):
            with pytest.raises(PermissionError):
                open_variant(path, "gzip")
    assert count_descriptors() == descriptors_count


def swap_after(monkeypatch, name, path, replace):
    """Let replace() take place of path right after the next os.name(path)."""
    look = getattr(os, name)

    def look_and_swap(other, *args, **kwargs):
        found = look(other, *args, **kwargs)
        if str(other) == str(path):
            monkeypatch.undo()
            path.unlink()
            replace()
        return found

    monkeypatch.setattr(os, name, look_and_swap)


def test_a_fifo_that_takes_the_place_of_a_file_keeps_nobody_waiting(path, monkeypatch):
    descriptors_count = count_descriptors()
    swap_after(monkeypatch, "stat", path, lambda: os.mkfifo(path))
    with pytest.raises(PermissionError):
        open_variant(path, "")
    assert count_descriptors() == descriptors_count


def test_a_link_that_takes_the_place_of_a_sibling_is_not_followed(path, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"secret")
    add_sibling(path, ".gz", b"zipped")
    sibling = tmp_path / "a.txt.gz"
    swap_after(monkeypatch, "lstat", sibling, lambda: sibling.symlink_to(tmp_path / "secret"))
    assert read(path, "gzip")[0] == b"plain"


LIKINGS = [
    ("", []),
    ("gzip", ["gzip"]),
    ("x-gzip", ["gzip"]),
    ("GZip, BR", ["br", "gzip"]),
    ("gzip, deflate, br", ["br", "gzip"]),
    ("gzip;q=0", []),
    ("gzip;q=0.000, br;q=0.001", ["br"]),
    ("br;q=0.5, gzip;q=0.8", ["gzip", "br"]),
    ("br ; q=0.5 ,\tgzip", ["gzip", "br"]),
    ("*", ["br", "gzip"]),
    ("*, br;q=0", ["gzip"]),
    ("*;q=0, gzip", ["gzip"]),
    ("identity", []),
    ("identity, gzip;q=0.5", []),
    ("identity;q=0.5, gzip", ["gzip"]),
    ("identity;q=0", []),
    ("compress, brotli, gzipped, not-br", []),
    ("gzip;q=2, br;q=-1, gzip;level=9", []),
    ("gzip;q=x, br", ["br"]),
    (",,br,", ["br"]),
]


@pytest.mark.parametrize(("accept_encoding", "preferred"), LIKINGS)
def test_codings_are_preferred_as_the_client_weighs_them(accept_encoding, preferred):
    assert prefer_codings(accept_encoding, ("br", "gzip")) == preferred

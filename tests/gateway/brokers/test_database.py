"""What the durable broker keeps of its channels, what goes, and what fails."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from gateway.brokers.data_file import FILE_NAME
from gateway.brokers.database import Growth, Kept, Key
from gateway.errors import BrokerUnavailable
from protocol.publication import Data, Publication
from tests.gateway.brokers.shelf import AGE_S, NOW, Shelf, offsets, publications

# --- what is kept -------------------------------------------------------------------------------


def test_all_of_a_publication_is_kept(shelf):
    binary = Publication(1, Data(b'"AA=="', is_binary=True), NOW, "k", {"t": "ü"}, "session")
    plain = Publication(2, Data(b'{"a": 1}'), NOW + 1)
    before = shelf.write("a", [binary, plain], keys=[Key("i", 1, NOW + 5)])
    assert before[2:] == (0, [], [])
    shelf.close()
    shelf.open()
    kept = shelf.load("a")
    assert kept.publications == [binary, plain]
    assert (kept.epoch, kept.last) == (before.epoch, 2)
    assert kept.keys == [Key("i", 1, NOW + 5)]


def test_what_is_before_the_oldest_kept_is_deleted_a_run_at_a_time(shelf):
    shelf.write("a", publications(1, 3))
    shelf.write("a", publications(4, 6))
    shelf.write("a", publications(7, 7), kept_from=3)
    assert offsets(shelf.load("a")) == [1, 2, 3, 4, 5, 6, 7]
    shelf.write("a", publications(8, 8), kept_from=4)
    assert offsets(shelf.load("a")) == [4, 5, 6, 7, 8]


def test_a_long_run_is_kept_in_pieces(shelf):
    shelf.write("a", publications(1, 2500))
    shelf.write("a", publications(2501, 2501), kept_from=1001)
    assert offsets(shelf.load("a")) == [*range(1001, 2502)]
    shelf.write("b", publications(1, 4, size=64 * 1024))
    shelf.write("b", publications(5, 5), kept_from=3)
    assert offsets(shelf.load("b")) == [3, 4, 5]


def test_what_has_expired_is_not_loaded_and_then_swept_away(shelf):
    shelf.write("a", publications(1, 2), keys=[Key("i", 1, NOW + 1), Key("j", 2, NOW + 2)])
    shelf.write("a", publications(3, 3, time=NOW + 1))
    later = shelf.load("a", NOW + AGE_S)
    assert (later.last, offsets(later), later.keys) == (3, [3], [])
    assert shelf.load("a", NOW + 1).keys == [Key("j", 2, NOW + 2)]
    assert shelf.database.sweep(NOW + AGE_S, 100) is False
    assert offsets(shelf.load("a")) == [3]
    assert shelf.load("a").keys == []


def test_a_sweep_is_bounded_and_says_whether_there_is_more(shelf):
    for offset in range(1, 6):
        shelf.write("a", publications(offset, offset, time=NOW + offset))
    counts = []
    for _ in range(3):
        is_more = shelf.database.sweep(NOW + 2 * AGE_S, 2)
        counts.append((is_more, len(shelf.load("a").publications)))
    assert counts == [(True, 3), (True, 1), (False, 0)]


def test_a_channel_that_retains_nothing_keeps_its_epoch_and_its_end(shelf):
    before = shelf.write("a", publications(1, 3))
    shelf.database.sweep(NOW + AGE_S, 100)
    shelf.close()
    shelf.open(boot_id="another boot")
    assert shelf.load("a")[1:] == (before.epoch, 3, [], [])


def test_where_an_older_publication_outlives_a_newer_one_what_is_before_the_hole_is_left_out(shelf):
    shelf.write("a", publications(1, 2), age_s=10 * AGE_S)
    shelf.write("a", publications(3, 4), age_s=AGE_S)
    shelf.write("a", publications(5, 5), age_s=10 * AGE_S)
    assert offsets(shelf.load("a", NOW + AGE_S)) == [5]


def test_the_file_does_not_grow_while_retention_lasts(shelf):
    sizes = []
    for round_ in range(100):
        for number in range(10):
            last = (round_ + 1) * 10
            new = publications(last - 9, last, size=1000)
            shelf.write(str(number), new, kept_from=max(last - 99, 1))
        sizes.append(shelf.database.file_bytes)
    assert max(sizes[20:]) < 1.1 * sizes[20]
    assert shelf.log_bytes < 20 * 1024 * 1024


# --- channels without anything retained ---------------------------------------------------------


def test_too_many_channels_that_retain_nothing_are_forgotten_and_begin_with_another_epoch(tmp_path):
    shelf = Shelf(tmp_path, max_channels=4)
    with closing(shelf.open()) as database:
        epoch = shelf.write("kept", publications(1, 1), age_s=10 * AGE_S).epoch
        for number in range(9):
            shelf.write(str(number), publications(1, 1))
        while database.sweep(NOW + AGE_S, 3):
            pass
        for _ in range(4):  # each looks at the next three
            database.sweep(NOW + AGE_S, 3)
        kept = [shelf.load(str(number)) for number in range(9)]
        assert sum(each.last for each in kept) <= 3
        assert {each.epoch for each in kept if each.last} <= {epoch}
        assert epoch not in {each.epoch for each in kept if not each.last}
        assert shelf.load("kept")[1:3] == (epoch, 1)


def test_a_channel_that_was_forgotten_while_in_use_is_kept_again_with_its_next_publication(
    tmp_path,
):
    shelf = Shelf(tmp_path, max_channels=1)
    with closing(shelf.open()) as database:
        used = shelf.write("a", publications(1, 5))
        shelf.write("b", publications(1, 1), age_s=10 * AGE_S)
        for _ in range(3):
            database.sweep(NOW + AGE_S, 10)
        assert shelf.load("a").epoch != used.epoch
        growth = Growth(used.channel, "a", used.epoch, 6, 1, AGE_S, publications(6, 6), [])
        database.commit([growth], is_synced=False)
        assert shelf.load("a")[1:3] == (used.epoch, 6)


TRACED = """
import sys
from gateway.brokers.database import Database, Growth
from gateway.config import BrokerConfig
from protocol.publication import Data, Publication
from tests.gateway.brokers.shelf import AGE_S, NOW, Shelf, offsets, publications

database = Database(BrokerConfig(data=sys.argv[1]), max_channels=1)
for offset, is_synced in enumerate([False, False, True, False, True, True], start=1):
    new = [Publication(offset, Data(b"1"), 1e6)]
    database.commit([Growth(1, "a", "E", offset, 1, 9, new, [])], is_synced=is_synced)
    print("synced" if is_synced else "not synced", flush=True)
database.commit([Growth(1, "a", "E", 7, 1, 9, [], [])], is_synced=False)
print("not synced", flush=True)
database.sync()
print("synced", flush=True)
"""


def test_the_operating_system_is_asked_to_write_through_exactly_where_that_is_promised(tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace")
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,write"
    command = [strace, "-f", "-y", "-e", calls, "-o", str(trace), sys.executable, "-c", TRACED]
    folder = tmp_path / "data"
    ended = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    if "PTRACE" in ended.stderr:
        pytest.skip("processes may not be traced here")
    assert ended.returncode == 0, ended.stderr
    is_written_through, told = False, []
    for line in trace.read_text().splitlines():
        if "sync(" in line and f"{FILE_NAME}-wal>" in line and line.endswith("= 0"):
            is_written_through = True
        elif "synced" in line and "write(1<" in line:
            told.append((is_written_through, '"synced' in line))
            is_written_through = False
    # What opening has written through stands before the first.
    assert [is_promised for _, is_promised in told].count(True) == 4
    assert all(is_done is is_promised for is_done, is_promised in told[1:])


# --- what fails -------------------------------------------------------------------------------


def test_a_full_file_takes_nothing_until_something_has_gone(tmp_path):
    shelf = Shelf(tmp_path, max_data_bytes=1024 * 1024)
    with closing(shelf.open()) as database:
        last = 0
        while True:
            try:
                shelf.write("a", publications(last + 1, last + 9, size=10_000))
            except BrokerUnavailable as error:  # after how many writes is up to SQLite
                assert str(error) == "cannot be written: database or disk is full"  # noqa: PT017
                break
            last += 9
        assert last > 0
        kept = shelf.load("a")
        assert (kept.last, len(kept.publications)) == (last, last)
        assert database.file_bytes <= 1024 * 1024
        database.sweep(NOW + AGE_S, 1000)
        shelf.write("a", publications(last + 1, last + 9, size=10_000))
        assert offsets(shelf.load("a")) == [*range(last + 1, last + 10)]


def test_a_file_damaged_in_use_fails_what_it_concerns_and_no_more(shelf, tmp_path, reopened):
    shelf.write("a", publications(1, 1))
    shelf.write("b", publications(1, 1))
    shelf.close()
    with closing(sqlite3.connect(shelf.folder / FILE_NAME)) as other:
        other.execute("UPDATE runs SET publications = x'ff' WHERE channel = 1")
        other.commit()
    shelf.open()
    with pytest.raises(BrokerUnavailable, match="cannot be read"):
        shelf.load("a")
    assert offsets(shelf.load("b")) == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps an open file where it is")
@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_taken_for_kept_once_the_file_was_removed_or_replaced(shelf, is_replaced):
    shelf.write("a", publications(1, 1))
    path = shelf.folder / FILE_NAME
    if is_replaced:
        shutil.copy(path, shelf.folder / "copy")
        (shelf.folder / "copy").rename(path)
    else:
        path.unlink()
    with pytest.raises(BrokerUnavailable, match="was removed or replaced; restart the gateway"):
        shelf.write("a", publications(2, 2))


def test_a_commit_is_all_or_nothing(shelf):
    kept = shelf.load("a")
    fine = Growth(kept.channel, "a", kept.epoch, 1, 1, AGE_S, publications(1, 1), [])
    impossible = Growth(2**63 - 1, "a", "E", 1, 1, AGE_S, publications(1, 1), [])  # the same name
    with pytest.raises(BrokerUnavailable, match="cannot be written"):
        shelf.database.commit([fine, impossible], is_synced=False)
    assert shelf.load("a")[1:] == Kept(0, kept.epoch, 0, [], [])[1:]
    shelf.database.commit([fine], is_synced=False)
    assert offsets(shelf.load("a")) == [1]

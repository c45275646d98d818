"""Opening the data file: what a crash and the loss of power leave, and who is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.brokers.data_file import FILE_NAME, read_boot_id
from gateway.errors import GatewayError
from tests.gateway.brokers.shelf import Shelf, offsets, publications

# --- crashes and the loss of power --------------------------------------------------------------


def test_after_a_crash_everything_committed_is_there_with_its_epoch(shelf, tmp_path, reopened):
    epoch = shelf.write("a", publications(1, 2)).epoch
    shelf.write("a", publications(3, 3))
    copy = shelf.crash(tmp_path / "copy")
    reopened(copy)
    assert copy.load("a")[1:3] == (epoch, 3)
    assert offsets(copy.load("a")) == [1, 2, 3]


def test_after_the_loss_of_power_what_was_synced_is_there_and_epochs_are_new(
    shelf, tmp_path, reopened
):
    old = shelf.write("a", publications(1, 2), is_synced=True).epoch
    synced = shelf.log_bytes
    shelf.write("a", publications(3, 4))
    copy = shelf.lose_power(tmp_path / "copy", synced)
    reopened(copy)
    kept = copy.load("a")
    assert (offsets(kept), kept.last) == ([1, 2], 2)
    assert old not in (kept.epoch, copy.load("never used").epoch)


def test_a_commit_that_is_torn_is_not_there_at_all(shelf, tmp_path, reopened):
    shelf.write("a", publications(1, 1))
    whole = shelf.log_bytes
    shelf.write("a", publications(2, 9, size=3000))
    for number, cut in enumerate(range(whole, shelf.log_bytes, 4096 + 24)):
        copy = shelf.lose_power(tmp_path / str(number), cut + 100)
        reopened(copy)
        assert offsets(copy.load("a")) == [1]


@pytest.mark.parametrize(
    ("fsync", "boot_id", "is_clean", "is_same"),
    [
        ("interval", "boot", False, True),
        ("interval", "another boot", False, False),
        ("interval", "another boot", True, True),
        ("always", "another boot", False, True),
    ],
)
def test_only_where_something_seen_may_be_lost_epochs_are_new(
    tmp_path, reopened, fsync, boot_id, is_clean, is_same
):
    shelf = Shelf(tmp_path / "data", fsync=fsync)
    shelf.open()
    epoch = shelf.write("a", publications(1, 1)).epoch
    unclean = shelf.crash(tmp_path / "copy")
    shelf.close()
    copy = shelf if is_clean else unclean
    reopened(copy, boot_id=boot_id)
    assert (copy.load("a").epoch == epoch) is is_same
    assert (copy.load("new").epoch == epoch) is is_same


def test_where_boots_cannot_be_told_apart_a_crash_counts_as_the_loss_of_power(
    shelf, tmp_path, reopened, monkeypatch
):
    epoch = shelf.write("a", publications(1, 1)).epoch
    monkeypatch.setattr("gateway.brokers.data_file._BOOT_ID_FILE", tmp_path / "missing")
    assert read_boot_id() is None
    copy = shelf.crash(tmp_path / "copy")
    reopened(copy, boot_id=None)
    assert copy.load("a").epoch != epoch


def test_a_crash_right_after_new_epochs_began_begins_no_others(shelf, tmp_path, reopened):
    shelf.write("a", publications(1, 1))
    second = shelf.lose_power(tmp_path / "second", shelf.log_bytes)
    reopened(second)
    epoch = second.load("a").epoch
    third = second.crash(tmp_path / "third")
    reopened(third)
    assert third.load("a").epoch == epoch


# --- what cannot be used ------------------------------------------------------------------------


def refuse(folder, **config):
    with pytest.raises(GatewayError) as caught:
        Shelf(folder, **config).open()
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_a_folder_belongs_to_one_node_at_a_time(shelf):
    text = f"the data folder {shelf.folder} is in use; stop the node that uses it"
    assert refuse(shelf.folder).startswith(text)
    shelf.write("a", publications(1, 1))
    reader = sqlite3.connect(shelf.folder / FILE_NAME, timeout=0)
    with closing(reader), pytest.raises(sqlite3.OperationalError):
        reader.execute("SELECT * FROM channels")


def test_a_file_of_a_later_version_is_left_alone(shelf):
    shelf.close()
    with closing(sqlite3.connect(shelf.folder / FILE_NAME)) as other:
        other.execute("PRAGMA user_version = 2")
    assert "written by a later version of the gateway (schema 2)" in refuse(shelf.folder)


def test_a_strangers_database_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("CREATE TABLE channels (a)")
    before = (tmp_path / FILE_NAME).read_bytes()
    assert "is not a gateway's" in refuse(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    assert "is damaged (file is not a database); restore a copy" in refuse(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be used" in refuse(tmp_path / "file" / "data")
    assert "is a file; name a folder" in refuse(tmp_path / "file")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    assert "unable to open database file" in refuse(tmp_path)


@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux has a boot id")
def test_the_boot_id_is_the_machines():
    assert read_boot_id() == read_boot_id() != ""

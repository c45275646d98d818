"""A database for the tests of the durable broker's parts."""

import pytest

from tests.gateway.brokers.shelf import Shelf


@pytest.fixture
def shelf(tmp_path):
    shelf = Shelf(tmp_path / "data")
    shelf.open()
    yield shelf
    if shelf.database is not None:
        shelf.close()


@pytest.fixture
def reopened():
    """Open a shelf and have it closed at the end."""
    opened = []

    def reopen(shelf, **changes):
        opened.append(shelf)
        return shelf.open(**changes)

    yield reopen
    for each in opened:
        each.close()

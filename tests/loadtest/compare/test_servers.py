"""The servers that can be compared: how those that cannot be started are told."""

import pytest

from loadtest.compare.servers import SERVERS


def test_a_library_that_is_not_installed_is_told_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    absence = SERVERS["picows"].find_absence()
    assert absence == "it is not installed: pip install picows, or -e '.[peers]' for all"
    assert SERVERS["gateway"].find_absence() is None

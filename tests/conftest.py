"""What every test can count on: `--uvloop` runs the asynchronous ones on uvloop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --uvloop."""
    parser.addoption(
        "--uvloop", action="store_true", help="run the asynchronous tests on uvloop's event loop"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the one kind of event loop of this run."""
    if not config.getoption("uvloop"):
        return {"asyncio": asyncio.new_event_loop}
    import uvloop  # only here, because it does not exist for Windows and PyPy

    return {"uvloop": uvloop.new_event_loop}

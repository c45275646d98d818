"""A gateway of the default configuration for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.clients import Gateway, serving


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Return a running gateway; it and its clients have ended when the test has."""
    async with serving() as running:
        yield running

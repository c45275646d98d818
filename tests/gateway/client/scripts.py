"""What runs the browser client alone in a page, where the console has no means to show it."""

import asyncio

from tests.gateway.client.conftest import PATIENCE_S, Console


async def run_client(console: Console, script: str) -> object:
    """Return what script returns, which has Gateway and happens(gateway, event)."""
    happens = """(gateway, event) => new Promise((resolve) =>
        gateway.addEventListener(event, ({ detail }) => resolve(detail), { once: true }))"""
    prelude = f'const {{ Gateway }} = await import("/client.js"); const happens = {happens};'
    async with asyncio.timeout(PATIENCE_S):  # a promise that stays open would wait for ever
        return await console.page.evaluate(f"async () => {{ {prelude} {script} }}")

"""What runs the browser client alone in a page, where the console has no means to show it."""

import asyncio
import json
from typing import Any

from playwright.async_api import WebSocketRoute

from tests.gateway.client.conftest import PATIENCE_S, Console


async def run_client(console: Console, script: str) -> object:
    """Return what script returns, which has Gateway and happens(gateway, event)."""
    happens = """(gateway, event) => new Promise((resolve) =>
        gateway.addEventListener(event, ({ detail }) => resolve(detail), { once: true }))"""
    prelude = f'const {{ Gateway }} = await import("/client.js"); const happens = {happens};'
    async with asyncio.timeout(PATIENCE_S):  # a promise that stays open would wait for ever
        return await console.page.evaluate(f"async () => {{ {prelude} {script} }}")


# Notes in `delays` how long a timer would have waited, and lets none wait.
NOTE_DELAYS = """
    const delays = [];
    const wait = window.setTimeout;
    window.setTimeout = (then, ms, ...rest) => wait(then, (delays.push(ms), 0), ...rest);
"""


async def refuse_first(console: Console, kind: str) -> list[dict[str, Any]]:
    """Have the first command of that kind told to wait for 3 s; return all of them, as they come.

    Only those of pages that connect from now on.
    """
    refusal = {"type": "error", "code": "rate_limited", "message": "slower", "retry": True}
    asked: list[dict[str, Any]] = []

    def relay(page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def forward_but_the_first(text: str) -> None:
            command = json.loads(text)
            if command["type"] == kind:
                asked.append(command)
            if asked == [command]:
                page.send(json.dumps({**refusal, "id": command["id"], "retry_after_ms": 3000}))
            else:
                server.send(text)

        page.on_message(forward_but_the_first)

    await console.page.route_web_socket("**/ws?*", relay)
    return asked

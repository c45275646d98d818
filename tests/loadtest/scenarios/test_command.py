"""The command scenario, against a node, and against one that limits its clients."""

import asyncio

from loadtest.result import Result
from loadtest.run import Plan, run
from tests.loadtest.conftest import Listen


async def command_briefly(target: str, **options: int) -> Result:
    return await run(Plan("command", target, dict(options), seconds=0.3))


async def test_every_command_is_answered_with_a_pong(target: str) -> None:
    result = await command_briefly(target, clients=3, in_flight=4)
    assert result.figure("replies")
    assert result.faults == {"missing": 0, "wrong": 0}


async def test_other_replies_are_found_out(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0d"type":"pong"')
        await reader.readexactly(28)
        while True:
            await reader.readexactly(28)
            writer.write(b'\x81\x07"error"')

    result = await command_briefly(f"ws://{await listen(talk)}/ws", clients=1)
    assert result.faults["wrong"] == result.figure("replies")
    assert result.fault_count

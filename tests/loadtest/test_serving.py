"""Servers that the tool starts: they listen before they are used, and are gone afterwards."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from loadtest.errors import LoadError
from loadtest.serving import find_free_port, serve, serve_gateway, serve_program

LISTEN = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    client.sendall(eval(sys.argv[2]).encode())
    client.close()
"""


async def ask(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = await reader.read()
    writer.close()
    return answer.decode()


def build_command(port: int, answer: str) -> list[str]:
    return [sys.executable, "-c", LISTEN, str(port), answer]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_a_server_listens_while_the_context_lasts_and_has_ended_after_it() -> None:
    port = find_free_port()
    async with serve(build_command(port, "'hello'"), port=port, environment={}) as serving:
        assert await ask(serving.port) == "hello"
        assert is_running(serving.pid)
    assert not is_running(serving.pid)


async def test_a_server_has_its_environment_its_cores_and_as_many_files_as_there_may_be() -> None:
    cpu = max(os.sched_getaffinity(0))
    port = find_free_port()
    answer = (
        "repr((os.environ['COLOUR'], os.sched_getaffinity(0),"
        " len(set(__import__('resource').getrlimit(__import__('resource').RLIMIT_NOFILE)))))"
    )
    command = build_command(port, answer)
    async with serve(command, port=port, environment={"COLOUR": "red"}, cpus=[cpu]):
        assert await ask(port) == repr(("red", {cpu}, 1))


async def test_a_server_that_ends_at_its_start_is_told_with_what_it_wrote() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]
    with pytest.raises(LoadError, match=r"(?s)ended at its start with status 1: .*no licence"):
        async with serve(command, port=find_free_port(), environment={}):
            pass


async def test_a_server_that_does_not_listen_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("loadtest.serving._START_S", 0.5)
    program = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    command = [sys.executable, "-c", f"{program}; time.sleep(60)"]
    port = find_free_port()
    with pytest.raises(LoadError, match=f"did not listen on port {port}"):
        async with serve(command, port=port, environment={}):
            pass
    assert not is_running(int((tmp_path / "pid").read_text()))


async def test_a_server_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.serving._STOP_S", 0.1)
    port = find_free_port()
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LISTEN
    command = [sys.executable, "-c", ignoring, str(port), "'hello'"]
    async with serve(command, port=port, environment={}) as serving:
        assert await ask(port) == "hello"
    assert not is_running(serving.pid)


TOOL = """
import asyncio, sys
from loadtest.serving import find_free_port, serve_program
from loadtest.worker import find_loop_factory

async def main():
    async with serve_program("loadtest.servers.plain") as serving:
        print(serving.pid, serving.port, flush=True)
        await asyncio.Event().wait()

with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
    runner.run(main())
"""


async def test_a_server_ends_with_the_tool_also_where_that_is_killed() -> None:
    tool = await asyncio.create_subprocess_exec(sys.executable, "-c", TOOL, stdout=PIPE)
    assert tool.stdout is not None
    pid, _ = map(int, (await tool.stdout.readline()).split())
    ended = asyncio.Event()
    pidfd = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(pidfd, ended.set)  # once the process has ended
    tool.kill()
    await tool.wait()
    await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


async def test_a_server_does_not_hold_what_the_tool_was_given() -> None:
    kept, given = os.pipe()
    tool = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TOOL, stdout=PIPE, pass_fds=[given]
    )
    assert tool.stdout is not None
    pid, _ = map(int, (await tool.stdout.readline()).split())
    ours = os.fstat(given).st_ino
    held = {os.stat(f"/proc/{pid}/fd/{name}").st_ino for name in os.listdir(f"/proc/{pid}/fd")}
    assert ours not in held
    tool.kill()
    await tool.wait()
    os.close(kept)
    os.close(given)


async def test_the_gateway_and_programs_on_its_web_server_can_be_served() -> None:
    async with (
        serve_gateway({"GATEWAY_HEARTBEAT__INTERVAL_S": "7"}) as gateway,
        serve_program("loadtest.servers.plain") as plain,
    ):
        for serving, path, expected in ((gateway, "/healthz", " 200 "), (plain, "/", "\r\n\r\nOK")):
            reader, writer = await asyncio.open_connection(serving.host, serving.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            assert expected in (await reader.read()).decode()
            writer.close()

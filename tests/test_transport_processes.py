"""Calls between two operating-system processes."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.transport_calls import ROOM, until
from tests.transport_end import FRAMES
from transport.signalling_server import SignallingServer

TREE = Path(__file__).parent.parent


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(limited())


async def start(role: str, server: SignallingServer) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.transport_end", role, server.url, stdout=PIPE, cwd=TREE
    )


async def event(process: Process, name: str) -> dict[str, Any]:
    """The next event of this name that the process tells; others before it are passed over."""
    assert process.stdout is not None
    async for line in process.stdout:
        said: dict[str, Any] = json.loads(line)
        if said["event"] == name:
            return said
    raise AssertionError(f"the process ended without '{name}'")


async def stop(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_a_call_between_two_processes_in_either_order(first: str) -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            ends = {first: await start(first, server)}
            await until(lambda: server.open_rooms == {ROOM: [first]}, 30)
            second = "receiver" if first == "sender" else "sender"
            ends[second] = await start(second, server)
            assert (await event(ends[first], "connected"))["peer"] == ends[second].pid
            assert (await event(ends["receiver"], "received"))["frames"] == list(range(FRAMES))
            await asyncio.gather(*(stop(process) for process in ends.values()))

    run(main())


def test_a_killed_receiver_is_noticed_and_frees_the_room() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            sender, receiver = await asyncio.gather(start("sender", server), start("receiver", server))
            await event(receiver, "received")
            os.kill(receiver.pid, signal.SIGKILL)
            await receiver.wait()
            await until(lambda: server.open_rooms.get(ROOM, []) != ["receiver", "sender"])
            assert "nothing was heard from the other side" in (await event(sender, "gone"))["reason"]
            assert (await event(sender, "freed"))["tasks"] == 0
            assert await sender.wait() == 0
            await until(lambda: not server.open_rooms)

    run(main())

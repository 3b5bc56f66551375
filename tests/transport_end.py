"""One end of a call in a process of its own: ``python -m tests.transport_end sender|receiver URL``.

It says what happens in lines of JSON on standard output, and ends when the other end is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.transport_calls import ROOM, local
from transport.keepalive import KeepaliveOptions
from transport.peer import Handlers, ReceiverPeer, SenderPeer
from transport.signalling import Role, WebSocketSignalling

FRAMES = 50


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


async def main(role: Role, url: str) -> None:
    gone = asyncio.Event()
    received: list[bytes] = []

    def ended(reason: str) -> None:
        say(event="gone", reason=reason)
        gone.set()

    def arrived(data: bytes, arrival: float) -> None:
        received.append(data)
        if len(received) == FRAMES:
            say(event="received", frames=[int.from_bytes(item, "big") for item in received])

    signalling = WebSocketSignalling(url, ROOM, role)
    handlers = Handlers(parameters=arrived, gone=ended)
    options = local(keepalive=KeepaliveOptions(silence_seconds=8, hint_seconds=1))
    kind = SenderPeer if role == "sender" else ReceiverPeer
    peer = await kind.connect(signalling, {"pid": os.getpid()}, handlers=handlers, options=options)
    say(event="connected", peer=peer.hello["pid"])
    number = 0
    while not gone.is_set():
        if role == "sender":
            peer.send_parameters(number.to_bytes(4, "big"))
            number += 1
        await asyncio.sleep(0.02)
    await peer.close()
    await signalling.close()
    say(event="freed", tasks=len(asyncio.all_tasks()) - 1)


if __name__ == "__main__":
    asyncio.run(main("sender" if sys.argv[1] == "sender" else "receiver", sys.argv[2]))

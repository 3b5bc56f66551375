import asyncio
import io
import json
import re
import socket
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from codec.errors import BitstreamError, TransportError, UsageError
from tests.transport_calls import ROOM, join, until
from transport.signalling import Description, PasteSignalling, PeerLeft, WebSocketSignalling, open_signalling
from transport.signalling_server import ServerLimits, SignallingServer, read_secret, room_token

OFFER = Description("offer", sdp="v=0 the sender's", hello={"a": [1, 2]})
ANSWER = Description("answer", sdp="v=0 the receiver's")


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await main

    asyncio.run(limited())


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_either_side_may_come_first(first: str) -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            ends = {"sender": join(server, "sender"), "receiver": join(server, "receiver")}
            waiting = asyncio.create_task(ends.pop(first).wait_for_peer())
            await until(lambda: server.open_rooms == {ROOM: [first]})
            (other,) = ends.values()
            await other.wait_for_peer()
            await waiting
            await other.close()

    run(main())


def test_descriptions_pass_and_the_room_is_freed() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            sender, receiver = join(server, "sender"), join(server, "receiver")
            await asyncio.gather(sender.wait_for_peer(), receiver.wait_for_peer())
            await sender.send(OFFER)
            assert await receiver.receive() == OFFER
            await receiver.send(ANSWER)
            assert await sender.receive() == ANSWER
            await sender.close()
            await receiver.close()
            await until(lambda: not server.open_rooms)

    run(main())


def test_a_second_receiver_is_served_after_the_first_left() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            sender, first = join(server, "sender"), join(server, "receiver")
            left = asyncio.Event()
            sender.on_left = left.set
            await asyncio.gather(sender.wait_for_peer(), first.wait_for_peer())
            await sender.send(OFFER)
            await first.close()
            await left.wait()
            with pytest.raises(PeerLeft, match="receiver left room 'test'"):
                await sender.receive()
            with pytest.raises(PeerLeft):
                await sender.send(OFFER)
            second = join(server, "receiver")
            await asyncio.gather(sender.wait_for_peer(), second.wait_for_peer())
            await sender.send(OFFER)
            assert await second.receive() == OFFER
            await sender.close()
            await second.close()

    run(main())


def test_refusals_say_why(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    secret = read_secret(tmp_path / "secret")
    token = room_token(secret, ROOM)

    async def main() -> None:
        async with SignallingServer(port=0, secret=secret) as server:
            for wrong in ("", "x" * 32, room_token(secret, "other"), "é"):
                with pytest.raises(TransportError, match="wrong token for room 'test'"):
                    await join(server, "sender", token=wrong).wait_for_peer()
            assert server.open_rooms == {}
            sender, receiver = join(server, "sender", token=token), join(server, "receiver", token=token)
            await asyncio.gather(sender.wait_for_peer(), receiver.wait_for_peer())
            with pytest.raises(TransportError, match="already has a sender"):
                await join(server, "sender", token=token).wait_for_peer()
            await sender.close()
            await receiver.close()

    run(main())


def test_rooms_and_attempts_are_capped() -> None:
    async def main() -> None:
        limits = ServerLimits(rooms=1, joins_per_minute=3)
        async with SignallingServer(port=0, limits=limits) as server:
            sender = join(server, "sender")
            waiting = asyncio.create_task(sender.wait_for_peer())
            await until(lambda: server.open_rooms)
            for reason in ("1 rooms are all taken", "1 rooms are all taken", "too many attempts"):
                with pytest.raises(TransportError, match=reason):
                    await WebSocketSignalling(server.url, "another", "sender").wait_for_peer()
            waiting.cancel()
            await sender.close()

    run(main())


def test_the_server_survives_what_clients_must_not_send() -> None:
    async def main() -> None:
        async with SignallingServer(port=0, limits=ServerLimits(messages_per_minute=5)) as server:
            greeting = {"kind": "join", "room": ROOM, "role": "sender"}
            async with aiohttp.ClientSession() as http:
                for first in (
                    "nonsense",
                    "[1]",
                    "[" * 5000,
                    json.dumps({**greeting, "role": "king"}),
                    '{"kind":"join"}',
                ):
                    async with http.ws_connect(f"{server.url}/signal") as ws:
                        await ws.send_str(first)
                        assert (await ws.receive_json())["kind"] == "refused"
                async with http.ws_connect(f"{server.url}/signal") as ws:
                    await ws.send_bytes(b"\0")
                    assert (await ws.receive_json())["kind"] == "refused"
                async with http.ws_connect(f"{server.url}/signal") as ws:
                    await ws.send_json({**greeting, "room": "../etc"})
                    assert "letters, digits" in (await ws.receive_json())["reason"]
                async with http.ws_connect(f"{server.url}/signal") as ws:
                    await ws.send_str("x" * 100_000)
                    assert (await ws.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
                async with http.ws_connect(f"{server.url}/signal", origin="http://elsewhere.example") as ws:
                    assert "other sites" in (await ws.receive_json())["reason"]
                async with http.ws_connect(f"{server.url}/signal") as ws:
                    await ws.send_json(greeting)
                    assert (await ws.receive_json())["kind"] == "welcome"
                    for _ in range(7):
                        await ws.send_json({"kind": "signal", "session": 0, "payload": 1})
                    assert await ws.receive_json() == {"kind": "refused", "reason": "too many messages"}
            await until(lambda: not server.open_rooms)

    run(main())


def test_garbage_from_the_other_end_is_a_bitstream_error() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            receiver = join(server, "receiver")
            async with aiohttp.ClientSession() as http, http.ws_connect(f"{server.url}/signal") as ws:
                await ws.send_json({"kind": "join", "room": ROOM, "role": "sender"})
                await receiver.wait_for_peer()
                await ws.receive_json()
                session = (await ws.receive_json())["session"]
                payloads: list[Any] = [None, {}, [], {**OFFER.pack(), "sdp": 5}, {**OFFER.pack(), "kind": "order"}]
                for payload in payloads:
                    await ws.send_json({"kind": "signal", "session": session, "payload": payload})
                    with pytest.raises(BitstreamError):
                        await receiver.receive()
            await receiver.close()

    run(main())


def test_port_taken_and_port_of_no_server() -> None:
    async def main() -> None:
        async with SignallingServer(port=0) as server:
            with pytest.raises(TransportError, match=r"the port is taken.*--port"):
                await SignallingServer(port=server.port).start()
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
            with pytest.raises(TransportError, match="is `headwire serve` running there"):
                await WebSocketSignalling(url, ROOM, "sender", patience=0.2).wait_for_peer()

    run(main())


def test_the_server_ends_while_an_end_waits() -> None:
    async def main() -> None:
        server = SignallingServer(port=0)
        await server.start()
        sender = join(server, "sender")
        waiting = asyncio.create_task(sender.wait_for_peer())
        await until(lambda: server.open_rooms)
        await server.stop()
        await server.stop()
        with pytest.raises(TransportError, match="closed the connection"):
            await waiting
        await sender.close()

    run(main())


def test_page_shows_open_rooms_and_nothing_external() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            async with SignallingServer(port=0) as server:
                sender = join(server, "sender")
                waiting = asyncio.create_task(sender.wait_for_peer())
                await until(lambda: server.open_rooms)
                async with http.get(server.url) as response:
                    page = await response.text()
                    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                assert "waits for a receiver" in page
                assert f"headwire receive --room {ROOM} --signal {server.url}" in page
                assert not re.search(r"<script|<link|<img|src=|@import", page)
                waiting.cancel()
                await sender.close()
            async with SignallingServer(port=0, secret=b"s" * 16) as server:
                token = room_token(b"s" * 16, ROOM)
                sender = join(server, "sender", token=token)
                waiting = asyncio.create_task(sender.wait_for_peer())
                await until(lambda: server.open_rooms)
                async with http.get(server.url, headers={"Host": "<b>evil</b>"}) as response:
                    page = await response.text()
                assert ROOM not in page
                assert token not in page
                assert "<b>" not in page
                waiting.cancel()
                await sender.close()

    run(main())


def test_addresses_rooms_and_secrets_of_a_user(tmp_path: Path) -> None:
    for url in ("ftp://host", "http://", "://"):
        with pytest.raises(UsageError, match="signalling server"):
            WebSocketSignalling(url, ROOM, "sender")
    for room in ("", "a b", "x" * 65, "../x"):
        with pytest.raises(UsageError, match="no name for a room"):
            WebSocketSignalling("localhost:8080", room, "sender")
    with pytest.raises(UsageError, match="cannot read"):
        read_secret(tmp_path / "missing")
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(UsageError, match="shorter than 16"):
        read_secret(tmp_path / "short")
    assert isinstance(open_signalling("paste", ROOM, "sender"), PasteSignalling)


def test_code_round_trip_and_damage() -> None:
    code = OFFER.to_code()
    assert Description.from_code(f"  {code[:20]}\n{code[20:]} \n") == OFFER
    flipped = code[:30] + ("A" if code[30] != "A" else "B") + code[31:]
    bomb = urlsafe_b64encode(zlib.compress(b"[" + b" " * 50_000_000 + b"]")).decode()
    deep = urlsafe_b64encode(zlib.compress(b"[" * 10_000)).decode()
    for damaged in ("", "hello", code[:-10], "A" + code, code + code, flipped, bomb, deep, "é" * 40):
        with pytest.raises(BitstreamError, match=r"whole Headwire code|session description"):
            Description.from_code(damaged)


def test_paste_between_two_ends() -> None:
    async def main() -> None:
        shown = io.StringIO()
        sender = PasteSignalling("sender", io.StringIO(f"\n{ANSWER.to_code()}\n"), shown)
        await sender.wait_for_peer()
        await sender.send(OFFER)
        assert await sender.receive() == ANSWER
        code = max(shown.getvalue().splitlines(), key=len)
        receiver = PasteSignalling("receiver", io.StringIO(code + "\n"), io.StringIO())
        assert await receiver.receive() == OFFER
        with pytest.raises(TransportError, match="standard input ended"):
            await receiver.receive()
        with pytest.raises(TransportError, match="serves one receiver"):
            await sender.wait_for_peer()

    run(main())

"""How two ends find each other before there is a connection: session descriptions through a server, or by hand.

A ``Description`` is an offer, an answer or a refusal, with the protocol version and the hello of its end, so that ends
of different versions part before a datagram was sent.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
import threading
import zlib
from abc import ABC, abstractmethod
from asyncio import Event, Queue, Task, create_task, get_running_loop, sleep, wait_for
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TextIO
from urllib.parse import urlsplit

import aiohttp

from codec.errors import BitstreamError, TransportError, UsageError

PROTOCOL_VERSION = 1
"""Version of everything between two ends: descriptions, channels, control messages. Ends of other versions part."""

MAX_DESCRIPTION = 16 * 1024
ROOM = re.compile(r"[A-Za-z0-9_-]{1,64}")

Role = Literal["sender", "receiver"]
OTHER: dict[Role, Role] = {"sender": "receiver", "receiver": "sender"}


@dataclass(frozen=True)
class Description:
    """kind: offer, answer or refused. sdp: session description (empty when refused). hello: what this end offers, plain
    JSON data. reason: why the other end is refused, a sentence."""

    kind: Literal["offer", "answer", "refused"]
    sdp: str = ""
    version: int = PROTOCOL_VERSION
    hello: dict[str, Any] = field(default_factory=dict)
    reason: str = ""

    def pack(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def parse(data: object) -> Description:
        """Foreign JSON data -> description. Raises BitstreamError."""
        if not isinstance(data, dict) or data.keys() != Description.__dataclass_fields__.keys():
            raise BitstreamError("the other side sent something that is not a session description")
        types = {"kind": str, "sdp": str, "version": int, "hello": dict, "reason": str}
        wrong = [name for name, kind in types.items() if not isinstance(data[name], kind)]
        if wrong or data["kind"] not in ("offer", "answer", "refused") or len(data["reason"]) > 500:
            raise BitstreamError("the other side sent a session description with wrong fields")
        return Description(**data)

    def to_code(self) -> str:
        """As one line of letters to copy and paste."""
        packed = zlib.compress(json.dumps(self.pack(), separators=(",", ":")).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @staticmethod
    def from_code(code: str) -> Description:
        """A pasted line -> description. Raises BitstreamError, also for one that unpacks to more than is sensible."""
        text = "".join(code.split())
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(raw, MAX_DESCRIPTION)
            if unpacker.unconsumed_tail or unpacker.unused_data or not unpacker.eof:
                raise ValueError("too long or cut off")
            return Description.parse(json.loads(data))
        except (ValueError, binascii.Error, zlib.error, RecursionError) as error:
            raise BitstreamError("that is not a whole Headwire code; copy the line from end to end") from error


class PeerLeft(TransportError):
    """The other end left before the call was set up; it, or another, may come again."""


class Signalling(ABC):
    """Carries descriptions between the two ends. ``on_left`` is called when the other end is seen to go away, which
    is only a hint: the connection may well live on. by_hand: people carry the descriptions, and take their time."""

    role: Role
    by_hand = False
    on_left: Callable[[], None] | None = None

    @abstractmethod
    async def wait_for_peer(self) -> None:
        """Return when the other end is there (again). Raises TransportError when that can no longer happen."""

    @abstractmethod
    async def send(self, description: Description) -> None:
        """Raises PeerLeft when the other end is gone."""

    @abstractmethod
    async def receive(self) -> Description:
        """The next description of the other end. Raises PeerLeft when it is gone, BitstreamError on garbage."""

    @abstractmethod
    async def close(self) -> None:
        """Leave the room. Idempotent."""


class WebSocketSignalling(Signalling):
    """Through the rooms of ``headwire serve``."""

    def __init__(self, url: str, room: str, role: Role, token: str = "", patience: float = 3.0) -> None:
        """url: of the server, http(s) or ws(s). patience: seconds to keep knocking while nothing answers there.

        Raises UsageError for a url or a room's name that cannot be one.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
        if scheme is None or not parts.netloc:
            raise UsageError(f"'{url}' is not the address of a signalling server, such as http://localhost:8080")
        if not ROOM.fullmatch(room):
            raise UsageError(f"'{room}' is no name for a room: use 1 to 64 letters, digits, - and _")
        self.role = role
        self.room = room
        self.url = url
        self._endpoint = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/signal"
        self._token = token
        self._patience = patience
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: Task[None] | None = None
        self._session = 0
        self._present = Event()
        self._inbox: Queue[Description | Exception] = Queue()
        self._failure: Exception | None = None

    async def wait_for_peer(self) -> None:
        if self._socket is None or self._socket.closed:
            await self._join()
        await self._present.wait()
        if self._failure is not None:
            raise self._failure

    async def send(self, description: Description) -> None:
        if self._socket is None or self._socket.closed or not self._present.is_set():
            raise self._left()
        while description.kind == "offer" and not self._inbox.empty():
            self._inbox.get_nowait()
        message = {"kind": "signal", "session": self._session, "payload": description.pack()}
        try:
            await self._socket.send_json(message)
        except ConnectionError as error:
            raise TransportError(f"the signalling server at {self.url} closed the connection") from error

    async def receive(self) -> Description:
        item = await self._inbox.get()
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _left(self) -> PeerLeft:
        return PeerLeft(f"the {OTHER[self.role]} left room '{self.room}' while the call was being set up")

    async def _join(self) -> None:
        await self.close()
        self._failure = None
        self._present.clear()
        self._http = aiohttp.ClientSession()
        try:
            self._socket = await self._knock(self._http)
            join = {"kind": "join", "room": self.room, "role": self.role, "token": self._token}
            await self._socket.send_json(join)
            answer = await wait_for(self._socket.receive(), 10)
            welcome = _json_object(answer)
            if welcome.get("kind") != "welcome":
                reason = str(welcome.get("reason", "the server did not answer as a Headwire server does"))[:500]
                raise TransportError(f"the signalling server at {self.url} refused: {reason}")
        except (TransportError, TimeoutError, ConnectionError) as error:
            await self.close()
            if isinstance(error, TransportError):
                raise
            raise TransportError(f"the signalling server at {self.url} does not answer") from error
        self._reader = create_task(self._read(self._socket))

    async def _knock(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        loop = get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                return await http.ws_connect(self._endpoint, max_msg_size=2 * MAX_DESCRIPTION, heartbeat=20)
            except aiohttp.WSServerHandshakeError as error:
                raise TransportError(
                    f"what answers at {self.url} is no Headwire signalling server (HTTP status {error.status})"
                ) from error
            except (aiohttp.ClientError, OSError) as error:
                if loop.time() > deadline:
                    raise TransportError(
                        f"no signalling server answers at {self.url}: is `headwire serve` running there?"
                    ) from error
            await sleep(0.1)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for raw in socket:
            message = _json_object(raw)
            kind = message.get("kind")
            if kind == "peer" and isinstance(message.get("session"), int):
                self._session = message["session"]
                while not self._inbox.empty():
                    self._inbox.get_nowait()
                self._present.set()
            elif kind == "left" and self._present.is_set():
                self._present.clear()
                self._inbox.put_nowait(self._left())
                if self.on_left is not None:
                    self.on_left()
            elif kind == "signal" and message.get("session") == self._session:
                try:
                    self._inbox.put_nowait(Description.parse(message.get("payload")))
                except BitstreamError as error:
                    self._inbox.put_nowait(error)
            elif kind == "refused":
                self._failure = TransportError(f"the signalling server ended it: {str(message.get('reason'))[:500]}")
        self._failure = self._failure or TransportError(f"the signalling server at {self.url} closed the connection")
        self._inbox.put_nowait(self._failure)
        self._present.set()


def _json_object(message: aiohttp.WSMessage) -> dict[str, Any]:
    if message.type is not aiohttp.WSMsgType.TEXT:
        return {}
    try:
        data = json.loads(message.data)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


class PasteSignalling(Signalling):
    """By copy and paste: the sender shows a code, the receiver takes it and shows one in return."""

    by_hand = True

    def __init__(self, role: Role, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        """source, sink: where codes are read and shown; standard input and output unless given."""
        self.role = role
        self._source = source
        self._sink = sink
        self._used = False

    async def wait_for_peer(self) -> None:
        if self._used:
            raise TransportError("a call that was set up by copy and paste serves one receiver; start it anew")
        self._used = True

    async def send(self, description: Description) -> None:
        sink = self._sink or sys.stdout
        what = {"offer": "sender's code", "answer": "receiver's code", "refused": "refusal"}[description.kind]
        sink.write(f"Copy this line, the {what}, to the {OTHER[self.role]}:\n\n{description.to_code()}\n\n")
        sink.flush()

    async def receive(self) -> Description:
        sink = self._sink or sys.stdout
        sink.write(f"Paste the {OTHER[self.role]}'s code here and press Enter:\n")
        sink.flush()
        while True:
            line = await self._read_line()
            if not line:
                raise TransportError(f"standard input ended before the {OTHER[self.role]}'s code was pasted")
            if line.strip():
                return Description.from_code(line)

    async def close(self) -> None:
        """Nothing is held."""

    async def _read_line(self) -> str:
        loop = get_running_loop()
        result = loop.create_future()
        source = self._source or sys.stdin

        def finish(line: str) -> None:
            if not result.done():
                result.set_result(line)

        def read() -> None:
            line = source.readline(4 * MAX_DESCRIPTION)
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, line)

        threading.Thread(target=read, name="paste", daemon=True).start()
        return str(await result)


def open_signalling(url: str, room: str, role: Role, token: str | None = None) -> Signalling:
    """The signalling that a user asked for: the URL of a server, or ``paste`` to copy descriptions by hand.

    Raises UsageError for anything else.
    """
    return PasteSignalling(role) if url == "paste" else WebSocketSignalling(url, room, role, token or "")

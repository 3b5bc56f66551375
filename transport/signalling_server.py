"""The signalling server of ``headwire serve``: rooms for one sender and one receiver, and a page that shows them.

It passes session descriptions between the two ends of a room and tells each when the other comes or goes. It never
sees a call: media and parameters go from end to end, encrypted.

Messages are JSON texts over a web socket. From an end: ``join`` (room, role, token), ``signal`` (session, payload).
To an end: ``welcome``; ``refused`` (reason), then the socket is closed; ``peer`` (session) when both are there;
``left``; ``signal``. Each meeting of two ends has a new session number, so that nothing of an old one is mistaken.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import json
import logging
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from codec.errors import TransportError, UsageError
from transport.process import stop_signals
from transport.signalling import MAX_DESCRIPTION, OTHER, ROOM, Role
from transport.viewer_page import render_page

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerLimits:
    """What one server and one address may use. joins_per_minute, messages_per_minute: per address, per socket."""

    rooms: int = 1000
    joins_per_minute: int = 120
    messages_per_minute: int = 120
    message_bytes: int = 2 * MAX_DESCRIPTION
    join_seconds: float = 10.0
    heartbeat_seconds: float = 5.0


@dataclass
class _Room:
    ends: dict[Role, web.WebSocketResponse] = field(default_factory=dict)
    session: int = 0
    since: float = field(default_factory=time.time)


class _Refused(Exception):
    """The reason is told to the client."""


def room_token(secret: bytes, room: str) -> str:
    """The token that opens a room on a server with this secret: HMAC-SHA256 of the room's name, 32 hex digits."""
    return hmac.new(secret, b"headwire room " + room.encode(), hashlib.sha256).hexdigest()[:32]


def read_secret(path: Path) -> bytes:
    """The secret in a file, blanks around it left out. Raises UsageError."""
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise UsageError(f"cannot read the secret file {path}: {error.strerror}") from error
    if len(secret) < 16:
        raise UsageError(f"the secret in {path} is shorter than 16 bytes; `openssl rand -hex 32 > {path}` makes one")
    return secret


class SignallingServer:
    """``async with SignallingServer(port=0) as server: server.url``"""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        secret: bytes | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        """port: 0 for any free one. secret: with it, a room opens only to its ``room_token``; without, to anyone."""
        self.host = host
        self.port = port
        self._secret = secret
        self._limits = limits or ServerLimits()
        self._rooms: dict[str, _Room] = {}
        self._joins: dict[str, deque[float]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def open_rooms(self) -> dict[str, list[Role]]:
        """Name of each room -> the roles that are in it."""
        return {name: sorted(room.ends) for name, room in self._rooms.items()}

    async def start(self) -> None:
        """Listen. Raises TransportError when the port is taken or the address is not of this machine."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/", self._page)
        app.router.add_get("/signal", self._signal)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise TransportError(
                f"cannot listen on {self.host}:{self.port} ({_why(error)}); "
                "choose another with --port, or --port 0 for any free one"
            ) from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every socket and the port. Idempotent."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        ends = [end for room in self._rooms.values() for end in room.ends.values()]
        await asyncio.gather(*(end.close(message=b"the server ends") for end in ends))
        await runner.cleanup()

    async def __aenter__(self) -> SignallingServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _page(self, request: web.Request) -> web.Response:
        now = time.time()
        rooms = [(name, sorted(room.ends), now - room.since) for name, room in sorted(self._rooms.items())]
        text = render_page(f"{request.scheme}://{request.host}", rooms, names=self._secret is None)
        headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _signal(self, request: web.Request) -> web.WebSocketResponse:
        limits = self._limits
        socket = web.WebSocketResponse(heartbeat=limits.heartbeat_seconds, max_msg_size=limits.message_bytes)
        await socket.prepare(request)
        joined: tuple[str, Role] | None = None
        try:
            joined = await self._join(socket, request)
            name, role = joined
            await socket.send_json({"kind": "welcome", "room": name})
            await self._announce(name)
            await self._forward(socket, name, role)
        except _Refused as refusal:
            if not socket.closed:
                await socket.send_json({"kind": "refused", "reason": str(refusal)})
        except ConnectionError:
            logger.debug("a client's connection broke")
        finally:
            if joined is not None:
                await self._leave(socket, *joined)
            await socket.close()
        return socket

    async def _join(self, socket: web.WebSocketResponse, request: web.Request) -> tuple[str, Role]:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise _Refused("web pages of other sites may not join")
        self._count_join(request.remote or "?")
        try:
            raw = await socket.receive(timeout=self._limits.join_seconds)
        except TimeoutError as error:
            raise _Refused("no request to join came in time") from error
        message = _parse(raw.data) if raw.type is WSMsgType.TEXT else {}
        name, role, token = message.get("room"), message.get("role"), message.get("token", "")
        if message.get("kind") != "join" or not isinstance(name, str) or not isinstance(token, str):
            raise _Refused("the first message must be a request to join")
        if role != "sender" and role != "receiver":
            raise _Refused("the role must be sender or receiver")
        if not ROOM.fullmatch(name):
            raise _Refused("a room's name has 1 to 64 letters, digits, - and _")
        if self._secret is not None and not hmac.compare_digest(
            token.encode(), room_token(self._secret, name).encode()
        ):
            raise _Refused(f"wrong token for room '{name}'; ask whoever runs the server for the room's token")
        if name not in self._rooms and len(self._rooms) >= self._limits.rooms:
            raise _Refused(f"the server's {self._limits.rooms} rooms are all taken; try again later")
        room = self._rooms.setdefault(name, _Room())
        if role in room.ends:
            raise _Refused(f"room '{name}' already has a {role}; choose another room, or end that {role} first")
        room.ends[role] = socket
        return name, role

    def _count_join(self, address: str) -> None:
        now = time.monotonic()
        joins = self._joins[address]
        while joins and now - joins[0] > 60:
            joins.popleft()
        if len(joins) >= self._limits.joins_per_minute:
            raise _Refused("too many attempts from this address; wait a minute")
        joins.append(now)
        for idle in [a for a, times in self._joins.items() if now - times[-1] > 60]:
            del self._joins[idle]

    async def _announce(self, name: str) -> None:
        room = self._rooms[name]
        if len(room.ends) == 2:
            room.session += 1
            for end in list(room.ends.values()):
                await _tell(end, {"kind": "peer", "session": room.session})

    async def _forward(self, socket: web.WebSocketResponse, name: str, role: Role) -> None:
        limit = self._limits.messages_per_minute
        allowance = float(limit)
        counted = time.monotonic()
        async for raw in socket:
            now = time.monotonic()
            allowance = min(limit, allowance + (now - counted) * limit / 60) - 1
            counted = now
            if allowance < 0:
                raise _Refused("too many messages")
            message = _parse(raw.data) if raw.type is WSMsgType.TEXT else {}
            room = self._rooms[name]
            other = room.ends.get(OTHER[role])
            if message.get("kind") != "signal" or "payload" not in message:
                raise _Refused("the server passes on only messages of the kind 'signal'")
            if other is not None and message.get("session") == room.session:
                forwarded = {"kind": "signal", "session": room.session, "payload": message["payload"]}
                await _tell(other, forwarded)

    async def _leave(self, socket: web.WebSocketResponse, name: str, role: Role) -> None:
        room = self._rooms[name]
        if room.ends.get(role) is socket:
            del room.ends[role]
        other = room.ends.get(OTHER[role])
        if other is not None:
            await _tell(other, {"kind": "left", "session": room.session})
        if not room.ends:
            self._rooms.pop(name, None)


async def _tell(end: web.WebSocketResponse, message: dict[str, object]) -> None:
    try:
        await end.send_json(message)
    except ConnectionError:
        logger.debug("a client went while it was being told something")


def _parse(text: str) -> dict[str, object]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "the port is taken"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return "ports below 1024 need rights that this user has not"
    return str(error)


def serve(host: str, port: int, secret_file: Path | None) -> None:
    """``headwire serve``: listen until the process is told to stop. Raises UsageError, TransportError."""
    secret = read_secret(secret_file) if secret_file else None

    async def run() -> None:
        with stop_signals() as stopped:
            async with SignallingServer(host, port, secret) as server:
                print(f"headwire: rooms are open at {server.url} (Ctrl-C ends)", flush=True)
                await stopped.wait()

    asyncio.run(run())

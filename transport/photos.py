"""Photos and patches as one stream of pieces: in order, resumable, cancellable; how the stream travels is not told here.

Pieces, big endian: BEGIN u8 1, u32 size, 8 bytes = first 8 of the content's SHA-256, u32 offset at which it goes on
(0, or what the receiver said it has); DATA u8 2, u8 n, n bytes; CANCEL u8 3: what was begun will not end.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
from collections import deque
from collections.abc import Callable, Mapping

from codec.errors import BitstreamError

MAX_PHOTO = 64 * 1024
KEY = 8
PIECE = 178
"""Bytes of a photo in one DATA piece: the piece with its head fills five blocks of ``transport.blocks``."""

_BEGIN, _DATA, _CANCEL = 1, 2, 3
_BEGIN_FIELDS = struct.Struct(f">I{KEY}sI")
_IN_PART = 4
_WHOLE_BYTES, _WHOLE = 32 * 1024, 20
"""Most that is kept of what is whole."""

MAX_KNOWN = _IN_PART + _WHOLE
"""Names that a receiver may tell of."""


def key_of(data: bytes) -> bytes:
    """The name of a content: 8 bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:KEY]


class Transfer:
    """One photo under way. ``acknowledged``: bytes that the receiver is known to have. ``resumed_at``: bytes that it had
    from an earlier connection."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.key = key_of(data)
        self.acknowledged = self.resumed_at = 0
        self.cancelled = False
        self._sent: int | None = None
        self._ended = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.acknowledged == len(self.data)

    def cancel(self) -> None:
        """Send no more of it. Nothing happens when all of it is on the way."""
        self.cancelled = not self.done
        self._ended.set()

    async def wait(self) -> bool:
        """True once the receiver has all of it, False when it was cancelled or the call has ended."""
        await self._ended.wait()
        return self.done

    def _settle(self, acknowledged: int) -> None:
        self.acknowledged = max(self.acknowledged, acknowledged)
        if self.done:
            self._ended.set()


class Outbox:
    """The sender's photos, first in, first out. ``take`` pieces; ``settle`` what was acknowledged."""

    def __init__(self, partial: Mapping[bytes, int] | None = None) -> None:
        """partial: key -> bytes that the receiver has of it already."""
        self._partial = dict(partial or {})
        self._queue: deque[Transfer] = deque()
        self._current: Transfer | None = None
        self._marks: deque[tuple[int, Transfer, int]] = deque()
        self._position = 0
        self._closed = False

    def send(self, data: bytes) -> Transfer:
        """Raises ValueError for nothing and for more than ``MAX_PHOTO`` bytes."""
        if not 1 <= len(data) <= MAX_PHOTO:
            raise ValueError(f"a photo message has 1 to {MAX_PHOTO} bytes, not {len(data)}")
        transfer = Transfer(data)
        if self._closed:
            transfer.cancel()
        else:
            self._queue.append(transfer)
        return transfer

    @property
    def waiting(self) -> int:
        """Bytes of photos that no piece was made of yet."""
        live = [t for t in (self._current, *self._queue) if t is not None and not t.cancelled]
        return sum(len(t.data) - (t._sent or 0) for t in live)

    @property
    def busy(self) -> bool:
        """Something is to be sent or to be acknowledged."""
        return bool(self._marks) or self.waiting > 0

    def take(self) -> bytes | None:
        """The next piece, or None when all photos are on the way."""
        out = b""
        current = self._current
        if current is not None and current.cancelled:
            self._current = current = None
            out = bytes([_CANCEL])
        while current is None and self._queue:
            current = self._queue.popleft()
            if current.cancelled:
                current = None
                continue
            self._current = current
            current.resumed_at = min(self._partial.pop(current.key, 0), len(current.data) - 1)
            current._sent = current.acknowledged = current.resumed_at
            out += bytes([_BEGIN]) + _BEGIN_FIELDS.pack(len(current.data), current.key, current._sent)
        if current is not None and current._sent is not None:
            part = current.data[current._sent : current._sent + PIECE - len(out)]
            current._sent += len(part)
            out += bytes([_DATA, len(part)]) + part
            self._marks.append((self._position + len(out), current, current._sent))
            if current._sent == len(current.data):
                self._current = None
        self._position += len(out)
        return out or None

    def settle(self, acknowledged: int) -> None:
        """acknowledged: bytes of the stream of pieces, from its beginning on."""
        while self._marks and self._marks[0][0] <= acknowledged:
            _, transfer, offset = self._marks.popleft()
            transfer._settle(offset)

    def close(self) -> None:
        """The call has ended: nobody waits any longer."""
        self._closed = True
        waiting = [transfer for _, transfer, _ in self._marks] + list(self._queue)
        for transfer in waiting + ([self._current] if self._current is not None else []):
            transfer.cancel()


class Inbox:
    """The receiver's half. It may outlive a connection: ``restart`` it with the next one, and what had come of a photo
    need not come again. ``resumed``: bytes that so did not."""

    def __init__(self, keep: Callable[[bytes], bool] = lambda photo: False) -> None:
        """keep: whether what is whole will be sent again over another connection, so that it is worth its memory."""
        self.resumed = 0
        self._keep = keep
        self._begun: dict[bytes, tuple[int, bytearray]] = {}
        self._whole: dict[bytes, bytes] = {}
        self._current: bytes | None = None
        self._buffer = bytearray()

    def restart(self) -> dict[bytes, int]:
        """A new stream begins -> key and bytes of what is here, whole or in part."""
        self._buffer.clear()
        self._current = None
        known = {key: len(data) for key, data in self._whole.items()}
        return known | {key: len(data) for key, (_, data) in self._begun.items() if data}

    def feed(self, data: bytes) -> list[bytes]:
        """Bytes of the stream, in order -> the photos that are whole now. Raises BitstreamError for a stream that is none;
        it cannot be read on."""
        self._buffer += data
        whole: list[bytes] = []
        while self._buffer:
            used = self._piece(whole)
            if not used:
                break
            del self._buffer[:used]
        return whole

    def _piece(self, whole: list[bytes]) -> int:
        """Take one piece from the buffer -> its length, 0 if it is not complete yet."""
        buffer = self._buffer
        match buffer[0]:
            case 1:
                end = 1 + _BEGIN_FIELDS.size
                if len(buffer) >= end:
                    self._begin(*_BEGIN_FIELDS.unpack_from(buffer, 1))
                    return end
            case 2:
                if len(buffer) >= 2 and len(buffer) >= 2 + buffer[1]:
                    self._take(bytes(buffer[2 : 2 + buffer[1]]), whole)
                    return 2 + buffer[1]
            case 3:
                if self._current is not None:
                    del self._begun[self._current]
                    self._current = None
                return 1
            case kind:
                raise BitstreamError(f"a piece of a photo of unknown kind {kind}")
        return 0

    def _begin(self, size: int, key: bytes, offset: int) -> None:
        whole = self._whole.get(key, b"")
        known_size, known = self._begun.pop(key, (len(whole) or size, bytearray(whole)))
        if not 1 <= size <= MAX_PHOTO or size != known_size or offset > min(len(known), size - 1):
            raise BitstreamError("a photo that begins with what is not here")
        del known[offset:]
        self.resumed += offset
        self._begun[key] = size, known
        self._current = key
        while len(self._begun) > _IN_PART:
            del self._begun[next(iter(self._begun))]

    def _take(self, part: bytes, whole: list[bytes]) -> None:
        if self._current is None:
            raise BitstreamError("a part of a photo that has not begun")
        size, data = self._begun[self._current]
        if not part or len(data) + len(part) > size:
            raise BitstreamError("a photo longer than it said")
        data += part
        if len(data) == size:
            key = self._current
            del self._begun[key]
            self._current = None
            photo = bytes(data)
            if key_of(photo) == key:
                whole.append(photo)
                if self._keep(photo):
                    self._remember(key, photo)

    def _remember(self, key: bytes, photo: bytes) -> None:
        self._whole.pop(key, None)
        self._whole[key] = photo
        while len(self._whole) > _WHOLE or sum(map(len, self._whole.values())) > _WHOLE_BYTES:
            del self._whole[next(iter(self._whole))]

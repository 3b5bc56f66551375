"""Headwire files (``.hw``): the packets of a call, as they go over the wire, one after the other.

Layout, big endian (``docs/bitstream.md``)::

    header  4 B "HWIR" | u8 version | u32 frame rate numerator | u32 denominator
    record  u8 channel | u16 length | the message as the channel carried it
    end     record of channel 0 with u32 number of frames

A file without its end record was cut off: all of its whole records are still read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from codec.errors import BitstreamError, HeadwireError, UsageError

MAGIC = b"HWIR"
VERSION = 1
MAX_RECORDS = 10_000_000

_HEADER = struct.Struct(">4sBII")
_RECORD = struct.Struct(">BH")
_END = struct.Struct(">I")


class Channel(IntEnum):
    """Which channel of a call carries a message."""

    END = 0
    PARAMETERS = 1
    PHOTOS = 2
    AUDIO = 3
    MOTION = 4


@dataclass(frozen=True)
class Message:
    """Bytes and the channel that carries them; what an encoder hands to the wire or to a file.

    time_ms: of a frame packet: when its last frame was captured, since the session's epoch. Not part of the bytes.
    """

    channel: Channel
    data: bytes
    time_ms: int = 0


class HeadwireWriter:
    """Writes a ``.hw`` file; it appears under its name only when it is whole (``close``).

    frames: of the video, to be set before ``close``: the last packet's bundle may hold more.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Raises UsageError where the file cannot be made."""
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.frames = 0
        try:
            self._file: BinaryIO = self._partial.open("wb")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}; choose another place") from error
        self._write(_HEADER.pack(MAGIC, VERSION, rate.numerator, rate.denominator))

    def write(self, message: Message) -> None:
        """Append a message. Raises HeadwireError when the disk is full."""
        self._write(_RECORD.pack(message.channel, len(message.data)) + message.data)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._write(_RECORD.pack(Channel.END, _END.size) + _END.pack(self.frames))
        self._file.close()
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> HeadwireWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self.abandon()
            raise HeadwireError(f"cannot write {self._path}: {error.strerror}") from error


class HeadwireReader:
    """Reads a ``.hw`` file record by record.

    rate: frames per second. Known after iteration: truncated, the file ends in the middle; frames, how many the video
    has (None for a truncated file).
    """

    def __init__(self, path: Path) -> None:
        """Raises UsageError for a file that cannot be opened, BitstreamError for one that is not Headwire's."""
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
        self.truncated = False
        self.frames: int | None = None
        self.header_bytes = _HEADER.size
        head = self._file.read(_HEADER.size)
        if len(head) < _HEADER.size or head[:4] != MAGIC:
            raise BitstreamError(f"{path} is not a Headwire file")
        _, version, numerator, denominator = _HEADER.unpack(head)
        if version != VERSION:
            raise BitstreamError(f"{path} is of version {version}, this program reads version {VERSION}: update it")
        if not numerator or not denominator or not 0.01 <= numerator / denominator <= 1000:
            raise BitstreamError(f"{path} has an impossible frame rate {numerator}/{denominator}")
        self.rate = Fraction(numerator, denominator)

    def __iter__(self) -> Iterator[Message]:
        """Messages in order. A record of an unknown channel is skipped; a cut-off end sets ``truncated``."""
        with self._file:
            for _ in range(MAX_RECORDS):
                head = self._file.read(_RECORD.size)
                if len(head) < _RECORD.size:
                    self.truncated = True
                    return
                channel, size = _RECORD.unpack(head)
                data = self._file.read(size)
                if len(data) < size:
                    self.truncated = True
                    return
                self.header_bytes += _RECORD.size
                if channel == Channel.END:
                    self.header_bytes += size
                    self.frames = _END.unpack(data)[0] if size == _END.size else None
                    return
                if channel in (Channel.PARAMETERS, Channel.PHOTOS, Channel.AUDIO, Channel.MOTION):
                    yield Message(Channel(channel), data)

"""The voice in a Headwire file: what a record of the audio channel holds.

i32 at   first sample that the packet decodes to, at 48 kHz, since the first frame; big endian, may be negative
...      an Opus packet (RFC 6716), one channel
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from codec.errors import BitstreamError

RATE = 48_000
"""Samples a second that positions count."""

_HEAD = struct.Struct(">i")


@dataclass(frozen=True)
class SoundPacket:
    """at: of its first sample, samples of ``RATE`` since the first frame. opus: the packet."""

    at: int
    opus: bytes

    def pack(self) -> bytes:
        """The record."""
        return _HEAD.pack(self.at) + self.opus


def read_sound(data: bytes) -> SoundPacket:
    """A record of the audio channel. Raises BitstreamError where it holds no sound."""
    if len(data) <= _HEAD.size:
        raise BitstreamError("a record of sound holds no packet")
    return SoundPacket(_HEAD.unpack_from(data)[0], data[_HEAD.size :])

"""Frame packets: one frame's 35 numbers, time stamp and window, decodable by itself.

Layout, big endian (``docs/bitstream.md``)::

    u8   version (high nibble) | kind (low nibble)
    u8   flags: bit 0 window present, bit 1 held (no face was seen: the numbers are the last good ones)
    u16  sequence number, wraps
    u32  capture time, ms since the session's epoch
    u8   confidence, 0..255
    [i16 x, i16 y in 1/4 px, i16 log2(zoom) in 1/1024]     if bit 0
    35 x i16  quantised parameters
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from codec.errors import BitstreamError
from codec.parameters import PARAMETERS, FrameParameters, Window
from codec.fixed_quantiser import dequantise, quantise

VERSION = 1
KIND_FRAME = 1
MAX_PACKET = 1200

_HEAD = struct.Struct(">BBHIB")
_WINDOW = struct.Struct(">hhh")
_FLAG_WINDOW, _FLAG_HELD = 1, 2
_KNOWN_FLAGS = _FLAG_WINDOW | _FLAG_HELD


@dataclass(frozen=True)
class FramePacket:
    """One frame on the wire.

    sequence: 0..65535, wraps. time_ms: 0..2^32-1 since the session's epoch. held: no face was seen in this frame.
    """

    sequence: int
    time_ms: int
    parameters: FrameParameters
    held: bool = False


def encode_window(window: Window) -> bytes:
    """6 bytes. Displacements beyond +-8191 px saturate."""
    steps = (window.x * 4, window.y * 4, math.log2(min(max(window.zoom, 2**-16), 2**16)) * 1024)
    return _WINDOW.pack(*(max(-32768, min(32767, round(s))) for s in steps))


def decode_window(data: bytes) -> Window:
    """Inverse of ``encode_window``; the caller has checked that there are 6 bytes."""
    x, y, zoom = _WINDOW.unpack(data)
    return Window(x / 4, y / 4, 2.0 ** (zoom / 1024))


def encode_frame(packet: FramePacket) -> bytes:
    """FramePacket -> bytes (79 or 85)."""
    window = packet.parameters.window
    flags = (0 if window.still else _FLAG_WINDOW) | (_FLAG_HELD if packet.held else 0)
    confidence = round(255 * min(max(packet.parameters.confidence, 0.0), 1.0))
    head = _HEAD.pack(VERSION << 4 | KIND_FRAME, flags, packet.sequence & 0xFFFF, packet.time_ms, confidence)
    body = quantise(packet.parameters.vector()).astype(">i2").tobytes()
    return head + (b"" if window.still else encode_window(window)) + body


def decode_frame(data: bytes) -> FramePacket:
    """Bytes -> FramePacket. Raises BitstreamError, and nothing else, for bytes that are not one."""
    if len(data) < _HEAD.size:
        raise BitstreamError(f"frame packet of {len(data)} bytes is truncated")
    first, flags, sequence, time_ms, confidence = _HEAD.unpack_from(data)
    if first >> 4 != VERSION:
        raise BitstreamError(f"packet version {first >> 4}, this program reads version {VERSION}")
    if first & 15 != KIND_FRAME or flags & ~_KNOWN_FLAGS:
        raise BitstreamError("not a frame packet")
    at = _HEAD.size
    size = at + (_WINDOW.size if flags & _FLAG_WINDOW else 0) + 2 * PARAMETERS
    if len(data) != size:
        raise BitstreamError(f"frame packet of {len(data)} bytes, expected {size}")
    window = Window()
    if flags & _FLAG_WINDOW:
        window = decode_window(data[at : at + _WINDOW.size])
        at += _WINDOW.size
    integers = np.frombuffer(data, ">i2", PARAMETERS, at).astype(np.int32)
    parameters = FrameParameters.from_vector(dequantise(integers), window, confidence / 255)
    return FramePacket(sequence, time_ms, parameters, bool(flags & _FLAG_HELD))

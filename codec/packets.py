"""Messages of the parameters channel: one byte of time, and a parameter packet (``codec.parameter_codec``).

The time is the capture time of the packet's last frame in units of 4 ms since the session's epoch, modulo 256: the receiver
knows the rest. In a ``.hw`` file frames follow one another at the file's rate, and packets stand without it.
"""

from __future__ import annotations

import math
import struct

from codec.errors import BitstreamError
from codec.parameter_codec import WindowIntegers
from codec.parameters import Window

KEY_ACK = struct.Struct(">BH")
"""What the receiver returns when a packet ordered a key: its slot and its check (``codec.parameter_codec``)."""

TIME_UNIT_S = 0.004
_TIMES = 256


def window_integers(window: Window) -> WindowIntegers:
    """Window -> x and y in 1/4 px, log2 zoom in 1/1024; what is out of range saturates."""
    steps = (window.x * 4, window.y * 4, math.log2(min(max(window.zoom, 2**-16), 2**16)) * 1024)
    x, y, zoom = (max(-32768, min(32767, round(s))) for s in steps)
    return x, y, zoom


def window_of(integers: WindowIntegers) -> Window:
    """Inverse of ``window_integers``."""
    x, y, zoom = integers
    return Window(x / 4, y / 4, 2.0 ** (zoom / 1024))


def stamped(time_ms: float, packet: bytes) -> bytes:
    """A packet with the time of its last frame, ms since the session's epoch."""
    return bytes((round(time_ms / 1000 / TIME_UNIT_S) % _TIMES,)) + packet


def unstamped(data: bytes, near_s: float) -> tuple[float, bytes]:
    """Message -> (capture time of its last frame, s since the epoch; packet).

    near_s: a guess that is at most half a second off. Raises BitstreamError for an empty message.
    """
    if len(data) < 2:
        raise BitstreamError(f"parameters message of {len(data)} bytes is truncated")
    units = round(near_s / TIME_UNIT_S)
    nearest = units + (data[0] - units + _TIMES // 2) % _TIMES - _TIMES // 2
    return nearest * TIME_UNIT_S, data[1:]

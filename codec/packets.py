"""Messages of the parameters channel: one byte of time, motion packets that ride along, and a parameter packet.

The time is the capture time of the packet's last frame in units of 4 ms since the session's epoch, modulo 256: the receiver
knows the rest. From it both ends count frames: the number of a frame (``frame_number``) is its time in periods. In a ``.hw`` file
frames follow one another at the file's rate, and packets stand without time and companions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from codec.errors import BitstreamError
from codec.motion import SEQUENCES
from codec.parameter_codec import WindowIntegers
from codec.parameters import Window

KEY_ACK = struct.Struct(">BH")
"""What the receiver returns when a packet ordered a key: its slot and its check (``codec.parameter_codec``)."""

TIME_UNIT_S = 0.004
_TIMES = 256
CYCLE_S = _TIMES * TIME_UNIT_S
"""After so long stamps are the same again."""

_OVERTAKEN = 64
"""Units that a message may come late and still count as overtaken."""

NOMINAL_FPS = 25.0

MOTION_SECTION = 15
"""Stands where a parameter packet has its rung: a motion packet comes first."""

MAX_BACK = 15
"""Frames that a motion packet's frame may be older than the message's."""

MAX_RIDING = 255
"""Bytes of a motion packet in a call."""

MAX_SECTIONS = 4


def window_integers(window: Window) -> WindowIntegers:
    """Window -> x and y in 1/4 px, log2 zoom in 1/1024; what is out of range saturates."""
    steps = (window.x * 4, window.y * 4, math.log2(min(max(window.zoom, 2**-16), 2**16)) * 1024)
    x, y, zoom = (max(-32768, min(32767, round(s))) for s in steps)
    return x, y, zoom


def window_of(integers: WindowIntegers) -> Window:
    """Inverse of ``window_integers``."""
    x, y, zoom = integers
    return Window(x / 4, y / 4, 2.0 ** (zoom / 1024))


def time_units(time_s: float) -> int:
    """s since the session's epoch -> units of ``TIME_UNIT_S``."""
    return round(time_s / TIME_UNIT_S)


def stamped(time_ms: float, packet: bytes) -> bytes:
    """A packet with the time of its last frame, ms since the session's epoch."""
    return bytes((time_units(time_ms / 1000) % _TIMES,)) + packet


def unstamped(data: bytes, near_s: float) -> tuple[float, bytes]:
    """Message -> (capture time of its last frame, s since the epoch; packet).

    near_s: a guess that is at most half a second off. Raises BitstreamError for an empty message.
    """
    if len(data) < 2:
        raise BitstreamError(f"parameters message of {len(data)} bytes is truncated")
    units = time_units(near_s)
    nearest = units + (data[0] - units + _TIMES // 2) % _TIMES - _TIMES // 2
    return nearest * TIME_UNIT_S, data[1:]


class Elapsed:
    """Time since the first of some messages, by their stamps alone: whatever queue grows on their way."""

    def __init__(self) -> None:
        self._last: int | None = None
        self.seconds = 0.0

    def see(self, data: bytes) -> None:
        """The next message; one that has been overtaken changes nothing. Less than a second without a message is bridged."""
        if not data:
            return
        ahead = 0 if self._last is None else (data[0] - self._last) % _TIMES
        if ahead < _TIMES - _OVERTAKEN:
            self._last = data[0]
            self.seconds += ahead * TIME_UNIT_S


def frame_period_ms(fps: object) -> float:
    """Between two frames, as the sender's hello says it; 25 frames a second where it says nothing sound."""
    return 1000.0 / (fps if isinstance(fps, float) and 1.0 <= fps <= 240.0 else NOMINAL_FPS)


def frame_number(time_s: float, period_ms: float) -> int:
    """The sequence number of the frame that was captured so many s after the epoch: periods of whole us, to the nearest."""
    period = round(1000 * period_ms)
    unit = round(1e6 * TIME_UNIT_S)
    return (time_units(time_s) * unit + period // 2) // period % SEQUENCES


@dataclass(frozen=True)
class Riding:
    """A motion packet in a message. back: its frame's number, counted back from that of the message's time, 0..MAX_BACK."""

    back: int
    packet: bytes


def with_motion(riding: Sequence[Riding], packet: bytes = b"") -> bytes:
    """What follows the time in a message: motion packets, then a parameter packet or nothing.

    Raises ValueError for what ``split_motion`` would refuse.
    """
    if len(riding) > MAX_SECTIONS or any(
        not (0 <= r.back <= MAX_BACK and 1 <= len(r.packet) <= MAX_RIDING) for r in riding
    ):
        raise ValueError("too many motion packets, or one that is too long or too old for a message")
    return b"".join(bytes((MOTION_SECTION << 4 | r.back, len(r.packet))) + r.packet for r in riding) + packet


def split_motion(data: bytes) -> tuple[list[Riding], bytes]:
    """Inverse of ``with_motion``. Raises BitstreamError where a section ends too early, or for too many of them."""
    riding: list[Riding] = []
    at = 0
    while at < len(data) and data[at] >> 4 == MOTION_SECTION:
        end = at + 2 + (data[at + 1] if at + 1 < len(data) else 0)
        if end == at + 2 or end > len(data) or len(riding) == MAX_SECTIONS:
            raise BitstreamError("a motion packet that rides in a message is truncated, or there are too many")
        riding.append(Riding(data[at] & 15, data[at + 2 : end]))
        at = end
    return riding, data[at:]

"""What to show when packets are missing: never a jump, never a stop of more than 200 ms while frames still come.

Between two frames that are there, the picture's numbers are interpolated, so a lost frame does not show if its successor
has come when it is due. After the last frame y goes on with damped speed for 200 ms (``Reconstruction.ahead``), then holds. When
a packet ends a gap, half of the difference to what was shown is kept for one more picture.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from codec.parameter_codec import SEQUENCES, ParameterPacket
from codec.quantiser import Tables, Vectors
from codec.reconstruction import FARTHEST, LONGEST_SILENCE, Reconstruction, Shown

REMEMBERED = 16
"""Frames kept for interpolation."""

LONGEST_GAP = 250
"""Frames that a gap counts as at most."""


class Concealment:
    """Packets in, numbers for any time out.

    tables: of the session. period_ms: between two frames. Times are milliseconds on the sender's clock.
    """

    def __init__(self, tables: Tables | None = None, period_ms: float = 40.0) -> None:
        self.reconstruction = Reconstruction(tables)
        self.period_ms = period_ms
        self._sequence = 0
        self._frames: deque[tuple[float, Shown]] = deque(maxlen=REMEMBERED)
        self._shown: tuple[float, Vectors] | None = None
        self._step: tuple[float, Vectors] | None = None

    def push(self, packet: ParameterPacket, time_ms: float) -> bool:
        """Take a packet whose last frame was seen at ``time_ms``; False for one that is older than what is there."""
        count = len(packet.frames)
        lost = missing = 0
        before = None
        if self._frames:
            newest = self._frames[-1][0]
            gap = round((time_ms - newest) / self.period_ms)
            if gap < 1:
                return False
            missing = min(max(0, gap - count), LONGEST_GAP)
            lost = min(missing, (packet.sequence - self._sequence - 1) % SEQUENCES * count)
            if missing - lost > LONGEST_SILENCE:
                lost = missing
            if gap < count:
                before = self._clean(time_ms - count * self.period_ms).z
        frames = self.reconstruction.push(packet, lost, missing - lost, before)
        self._sequence = packet.sequence
        for place, frame in enumerate(frames):
            at = time_ms - (count - 1 - place) * self.period_ms
            if not self._frames or at > self._frames[-1][0]:
                self._frames.append((at, frame))
        if lost and self._shown is not None and self._shown[0] > newest:
            self._step = (self._shown[0], self._shown[1] - self._clean(self._shown[0]).z)
        return True

    def at(self, time_ms: float) -> Shown | None:
        """What to show for a frame of that time; None before the first packet."""
        if not self._frames:
            return None
        shown = self._clean(time_ms)
        if self._step is not None:
            since = round((time_ms - self._step[0]) / self.period_ms)
            if since <= 1:
                shown = Shown(shown.z + 0.5 * self._step[1], shown.confidence, shown.window)
            else:
                self._step = None
        self._shown = (time_ms, shown.z)
        return shown

    def _clean(self, time_ms: float) -> Shown:
        newest, last = self._frames[-1]
        if time_ms >= newest:
            beyond = (time_ms - newest) / self.period_ms
            whole = int(min(beyond, FARTHEST))
            part = min(beyond, FARTHEST) - whole
            ahead = self.reconstruction.ahead
            z = ahead(whole) if part < 1e-6 else (1 - part) * ahead(whole) + part * ahead(whole + 1)
            return Shown(z, last.confidence, last.window)
        after_time, after = newest, last
        for before_time, before in reversed(self._frames):
            if before_time <= time_ms:
                weight = (time_ms - before_time) / max(after_time - before_time, 1e-9)
                z = np.asarray((1 - weight) * before.z + weight * after.z)
                nearer = before if weight < 0.5 else after
                return Shown(z, nearer.confidence, nearer.window)
            after_time, after = before_time, before
        return after

"""What a generator hears: the voice as it is played -> h_audio of the frame that is shown.

Sound and frames are on the sender's clock, in seconds since its epoch, so that what belongs together is found by its time
whatever the two were delayed by. A frame's own part of sound (40 ms) is the one that is spoken in the middle of the time for
which it stands, as in training (``training.sound.on_parts``). The network was taught with ``ahead`` parts after that: a frame's
h is known that much later, and whoever shows frames as they come has to wait (``Hearing.wait_s``).
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from codec.audio_features import PART, RATE
from codec.parameters import Floats
from models.characters import CharacterNet, Ear

SOUND_RATE = 48_000
"""Samples a second of what comes in."""

LONGEST_GAP_S = 1.0
"""Sound that is missing for longer than this begins anew; what is shorter is heard as silence."""

HELD = 5
"""Parts for which the last h stands where the next has not come; after that it is silent."""

KEPT = 256
"""Parts of a call whose h is remembered: ten seconds."""

MARGIN_S = 0.02
"""How much later than a frame its sound may arrive."""

_FACTOR = SOUND_RATE // RATE
_PART = PART * _FACTOR
_REACH = 48
"""Half the length of the low-pass filter, samples of ``SOUND_RATE``: a millisecond."""


class Thirds:
    """48 kHz to 16 kHz, in pieces of any length: a low-pass filter of 97 taps, cut off at 7.6 kHz, without delay.

    The n-th sample that comes out is at the time of the 3 n-th that went in.
    """

    def __init__(self) -> None:
        self._taps = _low_pass()
        self.restart()

    def restart(self) -> None:
        """Silence came before."""
        self._past = np.zeros(_REACH, np.float32)

    def __call__(self, samples: Floats) -> Floats:
        """(N,) float32 -> what is complete: a sample needs the 48 after its own."""
        whole = np.concatenate((self._past, np.asarray(samples, np.float32)))
        count = max(0, (len(whole) - 2 * _REACH - 1) // _FACTOR + 1)
        if not count:
            self._past = whole
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(whole, 2 * _REACH + 1)[: count * _FACTOR : _FACTOR]
        self._past = whole[count * _FACTOR :]
        return np.asarray(windows @ self._taps, np.float32)


class Hearing:
    """The generator's ear in a call or for a file. Safe to restart from another thread.

    ahead: parts of look-ahead that the generator learned with.
    Raises HeadwireError where the character network's weights are missing.
    """

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self._lock = threading.Lock()
        self._net = CharacterNet()
        self._silence = self._net.mix.silence()
        self._heard: deque[Floats] = deque(maxlen=KEPT)
        self._thirds = Thirds()
        self.restart()

    def restart(self) -> None:
        """Another sender, or a file from its beginning."""
        with self._lock:
            self._ear: Ear | None = None
            self._next = 0
            self._end = 0
            self._longest = 0.0
            self._heard.clear()

    @property
    def wait_s(self) -> float:
        """How long after its own time a frame's h is known; 0 as long as nobody has said anything."""
        if not self._longest:
            return 0.0
        return (1 + self.ahead) * PART / RATE + self._longest + MARGIN_S

    def add(self, samples: Floats, time_s: float) -> None:
        """(N,) float32 mono at 48 kHz, -1..1, as it is played. time_s: of the first sample, since the sender's epoch."""
        first = round(time_s * SOUND_RATE)
        with self._lock:
            if self._ear is None or abs(first - self._end) > LONGEST_GAP_S * SOUND_RATE:
                self._begin(first)
            gap = first - self._end
            self._longest = max(self._longest, len(samples) / SOUND_RATE)
            fresh = samples[-gap:] if gap < 0 else np.concatenate((np.zeros(gap, np.float32), samples))
            self._end += len(fresh)
            self._listen(fresh)

    def hear_all(self, samples: Floats) -> None:
        """All of a file's sound at once, from time 0; every part's h is remembered."""
        with self._lock:
            self._heard = deque()
            if len(samples):
                self._begin(0)
                self._listen(np.concatenate((samples, np.zeros(_REACH + (-len(samples)) % _PART, np.float32))))
                if self._ear is not None:
                    self._heard.extend(rest := self._ear.end())
                    self._next += len(rest)
                    self._ear = None

    def at(self, time_s: float, period_s: float = 0.04) -> Floats:
        """(300,) h_audio of the frame that was captured at a time and stands for ``period_s``.

        Where its sound has not come, the last that has stands in for 200 ms; before the first sound and after that, silence.
        """
        part = int(np.floor((time_s + period_s / 2) * RATE / PART + 1e-6))
        with self._lock:
            back = self._next - part
            if back <= 0:
                return self._heard[-1] if self._heard and -back < HELD else self._silence
            return self._heard[-back] if back <= len(self._heard) else self._silence

    def _begin(self, first: int) -> None:
        """Sound begins at a sample since the epoch; its part is silent before."""
        self._ear = Ear(self._net, self.ahead)
        self._thirds.restart()
        self._next = first // _PART
        self._end = self._next * _PART
        self._heard.clear()

    def _listen(self, samples: Floats) -> None:
        if self._ear is not None:
            self._heard.extend(found := self._ear.hear(self._thirds(samples)))
            self._next += len(found)


def hearing_for(generator: object) -> Hearing | None:
    """What a generator hears with; None for one without audio, which costs nothing."""
    ahead = getattr(generator, "ahead", None)
    return None if ahead is None else Hearing(ahead)


def _low_pass() -> Floats:
    at = np.arange(-_REACH, _REACH + 1)
    share = 2 * 7_600 / SOUND_RATE
    taps = np.sinc(share * at) * np.kaiser(len(at), 6.0)
    return np.asarray(taps / taps.sum(), np.float32)

"""The loudspeaker: plays sound as it comes, and would rather skip than lag behind the picture."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.parameters import Floats

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 0.25
"""Sound that would have to wait longer than this is skipped, oldest first."""


class Speaker:
    """The system's default output. Where there is none, one warning, and silence."""

    def __init__(self, sample_rate: int) -> None:
        self._buffer: NDArray[np.float32] = np.zeros(0, np.float32)
        self._longest = round(LONGEST_WAIT_S * sample_rate)
        self._lock = threading.Lock()
        self._stream: Any = None
        try:
            import sounddevice
        except (ImportError, OSError) as error:
            log.warning("no sound: PortAudio is missing (Debian: apt install libportaudio2)")
            log.debug("%s", error)
            return
        try:
            self._stream = sounddevice.OutputStream(
                samplerate=sample_rate, channels=1, dtype="float32", latency="low", callback=self._fill
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self._stream = None
            log.warning("no sound: no loudspeaker can be opened")
            log.debug("%s", error)

    def play(self, samples: Floats) -> None:
        """(N,) float32 mono, -1..1, played after what came before."""
        if self._stream is None:
            return
        with self._lock:
            self._buffer = np.concatenate((self._buffer, np.asarray(samples, np.float32)))[-self._longest :]

    def close(self) -> None:
        """Stop at once. Safe to call twice."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()

    def _fill(self, out: NDArray[np.float32], frames: int, *_: object) -> None:
        with self._lock:
            part, self._buffer = self._buffer[:frames], self._buffer[frames:]
        out[: len(part), 0] = part
        out[len(part) :] = 0

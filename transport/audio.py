"""The sender's voice: a file or a microphone, as Opus packets that aiortc sends as they are.

aiortc would encode 96 kbps stereo in packets of 20 ms; a track may hand over ready packets instead, so that bit rate,
length of a packet and what rides in it are decided here. A packet's header costs 50 bytes on the wire: at 20 ms that
is 20 kbps, at 60 ms 6.7 kbps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

from codec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Packet = av.Packet[Any]

logger = logging.getLogger(__name__)

RATE = 48_000
"""Samples per second of everything spoken of here; one channel."""

STALE = 0.5
"""Seconds after which the sound of a file is passed over: a track that begins late begins in the middle."""

Samples = NDArray[np.int16]
"""(n,) int16, one channel, 48 kHz."""


@dataclass(frozen=True)
class VoiceOptions:
    """bit_rate: of the Opus stream, bits per second. packet_ms: 20 to 120, length of a packet; it is delay, too, also of
    what rides in the packets."""

    bit_rate: int = 20_000
    packet_ms: int = 20

    def __post_init__(self) -> None:
        if self.packet_ms not in (20, 40, 60, 80, 120) or not 6_000 <= self.bit_rate <= 128_000:
            raise UsageError(
                "voice: packets of 20, 40, 60, 80 or 120 ms and 6000 to 128000 bits per second are possible"
            )


class OpusEncoder:
    """Mono samples -> Opus packets. A packet's pts is the index, in samples, of the input that its decoding begins
    with (negative for the first: the encoder looks 6.5 ms ahead)."""

    def __init__(self, options: VoiceOptions) -> None:
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.bit_rate = options.bit_rate
        self._codec.sample_rate = RATE
        self._codec.layout = "mono"
        self._codec.format = "s16"
        self._codec.time_base = Fraction(1, RATE)
        self._codec.options = {"application": "voip", "frame_duration": str(options.packet_ms)}

    def encode(self, samples: Samples, index: int) -> list[Packet]:
        """samples: exactly one packet's. index: of the first of them since the track began."""
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = index
        frame.time_base = Fraction(1, RATE)
        return list(self._codec.encode(frame))


class VoiceTrack(MediaStreamTrack):
    """A track whose packets are paced as they are spoken. ``payload_bytes`` and ``packets`` count what was given
    out; ``first_time`` is the monotonic time of the first packet's sound, s."""

    kind = "audio"

    def __init__(self, options: VoiceOptions | None = None) -> None:
        super().__init__()
        self.options = options or VoiceOptions()
        self.payload_bytes = 0
        self.packets = 0
        self.first_time: float | None = None
        self._encoder = OpusEncoder(self.options)
        self._length = RATE * self.options.packet_ms // 1000
        self._ready: list[Packet] = []

    @property
    @abstractmethod
    def started(self) -> float | None:
        """Monotonic time of sample 0, s; None while it is not known."""

    @abstractmethod
    async def read(self, count: int) -> tuple[Samples, int] | None:
        """The next count samples, when they have been spoken, and the index of the first; None at the end."""

    async def recv(self) -> Packet:
        while not self._ready:
            if self.readyState != "live":
                raise MediaStreamError
            block = await self.read(self._length)
            if block is None:
                self.stop()
                raise MediaStreamError
            self._ready = self._encoder.encode(*block)
        packet = self._ready.pop(0)
        if self.first_time is None and packet.pts is not None:
            self.first_time = self.time_of(packet.pts)
        self.payload_bytes += packet.size
        self.packets += 1
        return packet

    def time_of(self, pts: int) -> float | None:
        """Monotonic time at which the sound of a packet's pts was spoken, s."""
        return None if self.started is None else self.started + pts / RATE


class FileAudioTrack(VoiceTrack):
    """The sound of a file, in real time, on the clock of the video that it belongs to."""

    def __init__(self, path: Path | str, options: VoiceOptions | None = None) -> None:
        """Raises UsageError when the file cannot be read or has no sound. Nothing is given out before ``begin``."""
        super().__init__(options)
        self._path = Path(path)
        self._container = _open_sound(self._path)
        self._blocks = self._decode()
        self._began = asyncio.Event()
        self._start: float | None = None
        begins = self._container.streams.audio[0]
        self._next = round(float((begins.start_time or 0) * (begins.time_base or 0)) * RATE)

    def begin(self, at: float) -> None:
        """The file's time 0 is (or was) at this monotonic time, s: that of the video's frame with time stamp 0."""
        self._start = at
        self._began.set()

    @property
    def started(self) -> float | None:
        return self._start

    async def read(self, count: int) -> tuple[Samples, int] | None:
        await self._began.wait()
        while self._start is not None:
            block = await asyncio.to_thread(next, self._blocks, None)
            if block is None:
                return None
            index, self._next = self._next, self._next + count
            due = self._start + self._next / RATE - time.monotonic()
            if due > -STALE:
                await asyncio.sleep(max(0.0, due))
                return block, index
        return None

    def stop(self) -> None:
        super().stop()
        self._began.set()

    def _decode(self) -> Iterator[Samples]:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=self._length)
        stream = self._container.streams.audio[0]
        with self._container:
            for frame in self._container.decode(stream):
                yield from self._whole(resampler, frame)
            yield from self._whole(resampler, None)

    def _whole(self, resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Samples]:
        for block in resampler.resample(frame):
            samples = block.to_ndarray().reshape(-1).astype(np.int16, copy=False)
            yield samples if len(samples) == self._length else np.pad(samples, (0, self._length - len(samples)))


def _open_sound(path: Path) -> Any:
    try:
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise UsageError(f"cannot read the sound of {path}: {error.strerror or error}") from error
    if not container.streams.audio:
        container.close()
        raise UsageError(f"{path} has no sound; use --no-audio, or give a file that has")
    return container


class MicrophoneTrack(VoiceTrack):
    """A microphone by its name (a part of it is enough) or number; None for the system's default."""

    def __init__(self, device: str | int | None = None, options: VoiceOptions | None = None) -> None:
        """Raises UsageError when there is no such microphone or PortAudio is missing, and when it is in use."""
        super().__init__(options)
        sounddevice = import_sounddevice()
        self._event_loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[Samples, float]] = asyncio.Queue(maxsize=5)
        self._start: float | None = None
        self._index = 0
        try:
            self._stream = sounddevice.InputStream(
                device=device,
                channels=1,
                samplerate=RATE,
                dtype="int16",
                blocksize=self._length,
                callback=self._captured,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            name = "the default microphone" if device is None else f"microphone '{device}'"
            raise UsageError(f"cannot open {name}: {error}; `headwire devices` lists what is there") from error

    @property
    def started(self) -> float | None:
        return self._start

    async def read(self, count: int) -> tuple[Samples, int] | None:
        samples, captured = await self._queue.get()
        if len(samples) != count:
            return None
        if self._start is None:
            self._start = captured
        elapsed = round((captured - self._start) * RATE)
        if elapsed - self._index > count:
            self._index = elapsed
        index, self._index = self._index, self._index + count
        return samples, index

    def stop(self) -> None:
        if self.readyState == "live":
            self._stream.close()
            self._put(np.zeros(0, np.int16), 0.0)
        super().stop()

    def _captured(self, block: NDArray[np.int16], frames: int, times: Any, status: Any) -> None:
        captured = time.monotonic() - max(0.0, times.currentTime - times.inputBufferAdcTime)
        self._event_loop.call_soon_threadsafe(self._put, block[:, 0].copy(), captured)

    def _put(self, samples: Samples, captured: float) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait((samples, captured))


def import_sounddevice() -> Any:
    """The module, imported only now. Raises UsageError where the PortAudio library is missing."""
    try:
        import sounddevice
    except OSError as error:
        raise UsageError(
            "sound devices need the PortAudio library: install libportaudio2 (Debian), or use --no-audio"
        ) from error
    return sounddevice

"""The sound of a video file as the records of a Headwire file: Opus, one channel, on the clock of the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import UsageError
from codec.file_sound import RATE, SoundPacket
from codec.hwfile import Channel, Message

PACKET_MS = 60
"""A file has no delay to keep short."""


def sound_messages(path: Path) -> Iterator[Message]:
    """All of a video's sound, in order; nothing where it has none. Raises UsageError where it cannot be read."""
    from transport.audio import OpusEncoder, VoiceOptions

    encoder, size = OpusEncoder(VoiceOptions(packet_ms=PACKET_MS)), RATE * PACKET_MS // 1000
    samples, first = _samples(path)
    if not len(samples):
        return
    # Packets begin at multiples of their length since the first picture, and the encoder gives its last ones late.
    lead = first % size
    padded = np.concatenate((np.zeros(lead, np.int16), samples, np.zeros(2 * size, np.int16)))
    for n in range(len(padded) // size):
        for packet in encoder.encode(padded[n * size : (n + 1) * size], first - lead + n * size):
            yield Message(Channel.AUDIO, SoundPacket(int(packet.pts or 0), bytes(packet)).pack())


def _samples(path: Path) -> tuple[Any, int]:
    """(N,) int16, one channel, 48 kHz, and where the first lies since the first picture, samples."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                return np.zeros(0, np.int16), 0
            stream = container.streams.audio[0]
            resampler = av.AudioResampler("s16", "mono", RATE)
            pieces: list[Any] = []
            first: float | None = None
            for frame in container.decode(stream):
                first = frame.time if first is None else first
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
            shown = container.streams.video[0]
            begin = float((shown.start_time or 0) * (shown.time_base or 0))
    except (FFmpegError, IndexError) as error:
        raise UsageError(f"the sound of {path} cannot be read: {error}") from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    return samples, round(((first or 0.0) - begin) * RATE)

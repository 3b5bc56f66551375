"""The voice of a Headwire file, decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.errors import BitstreamError
from codec.file_sound import RATE, read_sound
from codec.hwfile import Channel, HeadwireReader
from codec.parameters import Floats

LONGEST_S = 12 * 3600
"""Sound beyond this is not believed: a damaged record must not ask for all memory."""


def file_sound(path: Path) -> Floats:
    """(N,) float32 mono at 48 kHz, -1..1; the first sample is at the time of the first frame. Empty where there is none.

    Records that cannot be read are silent. Raises as ``HeadwireReader`` does.
    """
    records = [message.data for message in HeadwireReader(path) if message.channel is Channel.AUDIO]
    if not records:
        return np.zeros(0, np.float32)
    import av
    from av.error import FFmpegError

    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout, decoder.format = RATE, "mono", "s16"
    pieces: list[tuple[int, Floats]] = []
    for data in records:
        try:
            packet = read_sound(data)
            at = packet.at
            for frame in decoder.decode(av.Packet(packet.opus)):
                samples = frame.to_ndarray().reshape(-1).astype(np.float32) / 32768
                pieces.append((at, samples))
                at += len(samples)
        except (BitstreamError, FFmpegError):
            continue
    pieces = [(at, samples) for at, samples in pieces if -RATE <= at < LONGEST_S * RATE]
    out = np.zeros(max((at + len(samples) for at, samples in pieces), default=0), np.float32)
    for at, samples in pieces:
        kept = samples[max(0, -at) :]
        out[max(0, at) : max(0, at) + len(kept)] = kept
    return out

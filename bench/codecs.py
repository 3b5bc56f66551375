"""A codec as ``headwire bench quality`` sees it: frames in, packets out, frames back, and what the packets cost.

To add one: a subclass of ``Codec`` in a file ``bench/codec_<name>.py`` and a line in ``CODECS``.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError

Frames = NDArray[np.uint8]
"""(N, 256, 256, 3) uint8, RGB."""

RTP_HEADERS = 50
"""Bytes of a packet besides its payload: IPv4 20, UDP 8, RTP 12, SRTP tag 10."""

RTP_PAYLOAD = 1200
"""Most bytes of payload in a packet."""

RTCP_RETURN_KBPS = 0.25
"""What an idle connection's reports and consent checks take back, measured on localhost."""

OPENING = frozenset({"photo", "key", "session"})
"""Kinds of bytes that are sent once, at the start; the rest goes on for as long as the call does."""

_PLAUSIBLE_DB = 45.0
_PLAUSIBLE_BITS = 0.05
"""Bits a pixel below which no codec reaches the above."""


class MissingCodecError(HeadwireError):
    """What the codec needs is not installed here."""


@dataclass(frozen=True)
class Packet:
    """What is sent at once. kind: of ``OPENING`` or another word. wire: bytes of all its datagrams with their headers.

    frame: the last one that it tells of, which RTP's time stamp says.
    """

    kind: str
    data: bytes
    wire: float
    frame: int = 0


@dataclass(frozen=True)
class Encoded:
    """A coded clip: all that ``decode`` may use.

    fps: of the clip; frames: how many. note: how it was coded, for people. delay_ms: which the sender adds by waiting
    for later frames. return_kbps: what flows back.
    """

    packets: tuple[Packet, ...]
    fps: Fraction
    frames: int
    note: str = ""
    delay_ms: float = 0.0
    return_kbps: float = RTCP_RETURN_KBPS

    @property
    def seconds(self) -> float:
        return float(self.frames / self.fps)

    def bytes_by_kind(self) -> dict[str, int]:
        """Payload, by kind."""
        kinds = sorted({packet.kind for packet in self.packets})
        return {kind: sum(len(p.data) for p in self.packets if p.kind == kind) for kind in kinds}

    def payload_kbps(self) -> float:
        return sum(len(packet.data) for packet in self.packets) * 0.008 / self.seconds

    def wire_bytes_by_second(self) -> list[float]:
        """What is sent in each second of the clip; a packet is sent with the last frame that it tells of."""
        out = [0.0] * max(1, math.ceil(self.seconds))
        for packet in self.packets:
            out[min(int(packet.frame / self.fps), len(out) - 1)] += packet.wire
        return out

    def total_kbps(self) -> float:
        """Both ways, everything counted, over the clip as it is."""
        return self.wire_kbps() + self.return_kbps

    def wire_kbps(self, seconds: float | None = None) -> float:
        """Of the clip as it is; or of a call of so many seconds that opens like it and goes on like the rest of it."""
        opening = sum(packet.wire for packet in self.packets if packet.kind in OPENING)
        rest = sum(packet.wire for packet in self.packets if packet.kind not in OPENING)
        seconds = self.seconds if seconds is None else seconds
        return (opening / seconds + rest / self.seconds) * 0.008


class Codec(ABC):
    """One way to send a face.

    rates: what is measured where no rate is asked for. folders: of the project, whose code and data it runs; weights: files
    of ``models/weights`` that it needs. stream: of codecs that only decode differently the same word: one codes for all.
    beside: of these the ones whose pictures ``decode_all`` has, too. A new object decodes what another one encoded.
    """

    name: str
    about: str
    rates: tuple[str, ...]
    folders: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    stream: str | None = None
    beside: tuple[str, ...] = ()

    def check(self) -> None:  # noqa: B027
        """Raises MissingCodecError where it cannot run here."""

    @abstractmethod
    def takes(self, rate: str) -> bool:
        """Whether ``rate`` is one of this codec's rates."""

    @abstractmethod
    def encode(self, frames: Frames, fps: Fraction, rate: str) -> Encoded:
        """Raises HeadwireError where the frames cannot be coded (no face)."""

    @abstractmethod
    def decode(self, encoded: Encoded) -> Frames:
        """Exactly ``encoded.frames`` frames: what the viewer sees when each is due."""

    def decode_all(self, encoded: Encoded) -> dict[str, Frames]:
        """Codec -> what its ``decode`` gives: of this one, and of those ``beside`` it."""
        return {self.name: self.decode(encoded)}


def rtp_bytes(payload: int) -> int:
    """Bytes on the wire of one frame's payload."""
    return payload + RTP_HEADERS * max(1, math.ceil(payload / RTP_PAYLOAD))


CODECS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "warp": ("bench.codec_headwire", "Headwire", {"model": "warp"}),
    "light": ("bench.codec_headwire", "Headwire", {"model": "light"}),
    "headgan": ("bench.codec_headwire", "Headwire", {"model": "headgan", "rates": ("normal@0:off",)}),
    "raw": ("bench.codec_headwire", "RawFloats", {"model": "warp"}),
    "frozen": ("bench.codec_headwire", "Frozen", {}),
    "av1": ("bench.codec_video", "Video", {"name": "av1"}),
    "av1-aom": ("bench.codec_program", "VideoOrProgram", {"name": "av1-aom"}),
    "vp9": ("bench.codec_video", "Video", {"name": "vp9"}),
    "vp8": ("bench.codec_video", "Video", {"name": "vp8"}),
    "h264": ("bench.codec_video", "Video", {"name": "h264"}),
    "hevc": ("bench.codec_video", "Video", {"name": "hevc"}),
}
"""Name -> module, class, its arguments."""


def create_codec(name: str) -> Codec:
    """A new codec of that name; any generator of Headwire's is one. Raises UsageError for an unknown name."""
    if name not in CODECS:
        raise UsageError(f"no codec {name!r}: choose among {', '.join(CODECS)}")
    module, kind, arguments = CODECS[name]
    codec: Codec = getattr(importlib.import_module(module), kind)(**arguments)
    return codec


def sanity(encoded: Encoded, truth: Frames, shown: Frames) -> None:
    """Raises HeadwireError for what cannot have been coded honestly: no bytes, too few of them for such a picture."""
    if shown.shape != truth.shape or shown.dtype != np.uint8:
        raise HeadwireError(f"the codec returned {shown.shape} {shown.dtype} for {truth.shape} uint8: refused")
    payload = sum(len(packet.data) for packet in encoded.packets)
    if payload == 0:
        raise HeadwireError("the codec sent no bytes: refused")
    if any(packet.wire < len(packet.data) for packet in encoded.packets):
        raise HeadwireError("the codec claims fewer bytes on the wire than its payload has: refused")
    pixels = truth.shape[0] * truth.shape[1] * truth.shape[2]
    if payload * 8 / pixels < _PLAUSIBLE_BITS and _moves(truth):
        error = float(np.mean([((a.astype(np.float32) - b) ** 2).mean() for a, b in zip(truth, shown, strict=True)]))
        if error < 255**2 / 10 ** (_PLAUSIBLE_DB / 10):
            raise HeadwireError(
                f"{payload} bytes cannot hold {len(truth)} frames at over {_PLAUSIBLE_DB:.0f} dB: the codec was given the"
                " original by another way, refused"
            )


def _moves(truth: Frames) -> bool:
    return any(not np.array_equal(truth[0], frame) for frame in truth[1:])


def choose(names: Sequence[str], rates: Sequence[str]) -> list[tuple[str, str]]:
    """(codec, rate) for all that are measured, in order; without ``rates`` each codec's own.

    Raises UsageError for an unknown codec and for a rate that none of them takes.
    """
    codecs = [create_codec(name) for name in dict.fromkeys(names)]
    for rate in rates:
        if not any(codec.takes(rate) for codec in codecs):
            raise UsageError(f"no codec of {', '.join(names)} takes the rate {rate!r}")
    chosen = []
    for codec in codecs:
        own = [rate for rate in rates if codec.takes(rate)] if rates else list(codec.rates)
        chosen += [(codec.name, rate) for rate in dict.fromkeys(own or codec.rates)]
    return chosen

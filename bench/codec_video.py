"""Video codecs through PyAV as a call would use them: real time, no B frames, no look-ahead, one key frame at the start.

A rate is the clip's bit rate **on the wire**, kbps, key frame and headers included: ``20``, or ``20@192:12.5`` with the
side of the coded picture and the frames a second; without them those of ``LADDER``, and a step further down it where even
the coarsest quantiser does not fit. The quantiser is the finest constant one with which the whole clip fits; it is
searched, which flatters these codecs: a call has to guess.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bench.codecs import Codec, Encoded, Frames, MissingCodecError, Packet, rtp_bytes
from codec.errors import HeadwireError, UsageError

LADDER = ((6.0, 128, 8.0), (10.0, 192, 8.0), (16.0, 256, 8.0), (30.0, 256, 12.5), (math.inf, 256, 25.0))
"""Up to so many kbps: side of the picture, frames a second. Chosen among 256, 192, 128 and 25, 12.5, 8 by the LPIPS and PSNR of
AV1 on three training people."""


@dataclass(frozen=True)
class Settings:
    """encoder, decoder: as FFmpeg names them. options: of the encoder; ``{q}`` is the quantiser, coarsest to finest."""

    encoder: str
    decoder: str
    options: dict[str, str]
    coarsest: int
    finest: int = 10
    bit_rate: int = 0


SETTINGS = {
    "av1": Settings(
        "libsvtav1",
        "libdav1d",
        {"preset": "7", "crf": "{q}", "svtav1-params": "pred-struct=1:keyint=-1:lp=1:rtc=1"},
        63,
    ),
    "av1-aom": Settings(
        "libaom-av1",
        "libdav1d",
        {"usage": "realtime", "cpu-used": "6", "crf": "{q}", "lag-in-frames": "0"},
        63,
    ),
    "vp9": Settings(
        "libvpx-vp9",
        "vp9",
        {"deadline": "realtime", "cpu-used": "5", "crf": "{q}", "lag-in-frames": "0", "auto-alt-ref": "0"},
        63,
    ),
    "vp8": Settings(
        "libvpx",
        "vp8",
        {"deadline": "realtime", "cpu-used": "-4", "qmin": "{q}", "qmax": "{q}", "lag-in-frames": "0"},
        63,
        4,
        1_000_000,
    ),
    "h264": Settings("libx264", "h264", {"preset": "veryslow", "tune": "zerolatency", "crf": "{q}"}, 51),
    "hevc": Settings(
        "libx265",
        "hevc",
        {
            "preset": "slow",
            "tune": "zerolatency",
            "crf": "{q}",
            "x265-params": "log-level=none:keyint=-1:bframes=0:pools=none:frame-threads=1:scenecut=0",
        },
        51,
    ),
}


@dataclass(frozen=True)
class Point:
    """kbps: on the wire. size: side of the coded picture. hertz: frames a second."""

    kbps: float
    size: int
    hertz: float


def parse(rate: str) -> Point:
    """``20`` or ``20@192:12.5``. Raises ValueError for anything else."""
    kbps, _, how = rate.partition("@")
    target = float(kbps)
    if not 0 < target < 1e5:
        raise ValueError(rate)
    if how:
        size, _, hertz = how.partition(":")
        point = Point(target, int(size), float(hertz or 25))
    else:
        point = next(Point(target, size, hertz) for most, size, hertz in LADDER if target <= most)
    if not 16 <= point.size <= 256 or point.size % 2 or not 0.5 <= point.hertz <= 1000:
        raise ValueError(rate)
    return point


def steps(rate: str) -> list[Point]:
    """What is tried in turn until it fits: ``rate`` itself, then what is below it on the ladder."""
    wanted = parse(rate)
    if "@" in rate:
        return [wanted]
    return [
        Point(wanted.kbps, size, hertz)
        for most, size, hertz in reversed(LADDER)
        if size * hertz <= wanted.size * wanted.hertz
    ]


class Video(Codec):
    """One of ``SETTINGS``."""

    rates = ("8", "12", "20", "40")

    def __init__(self, name: str) -> None:
        self.name = name
        self._settings = SETTINGS[name]
        self.about = f"{self._settings.encoder}, real time, no look-ahead"

    def check(self) -> None:
        import av
        from av.codec.codec import UnknownCodecError

        kinds: list[tuple[str, Any]] = [(self._settings.encoder, "w"), (self._settings.decoder, "r")]
        for kind, mode in kinds:
            try:
                av.Codec(kind, mode)
            except UnknownCodecError as error:
                raise MissingCodecError(f"{kind} is not in the FFmpeg that PyAV brings") from error

    def takes(self, rate: str) -> bool:
        try:
            parse(rate)
        except ValueError:
            return False
        return True

    def encode(self, frames: Frames, fps: Fraction, rate: str) -> Encoded:
        if not self.takes(rate):
            raise UsageError(
                f"{self.name} does not know the rate {rate!r}: write kbps or kbps@side:hertz, as 20@192:12.5"
            )
        room = parse(rate).kbps * 125 * float(len(frames) / fps)
        for point in steps(rate):
            slots = _slots(len(frames), fps, point.hertz)
            pictures = _pictures([frames[number] for number in slots], point.size)
            used, best = self._search(pictures, fps, slots, room)
            if best is not None:
                break
        else:
            best = self._coded(pictures, fps, slots, used, math.inf).packets
        assert best is not None
        packets = tuple(
            Packet("key" if n == 0 else "video", data, rtp_bytes(len(data)), number)
            for n, (number, data) in enumerate(zip(slots, best, strict=True))
        )
        hertz = min(point.hertz, float(fps))
        return Encoded(packets, fps, len(frames), f"{point.size}x{point.size}, {hertz:g} Hz, quantiser {used}")

    def decode(self, encoded: Encoded) -> Frames:
        import av

        decoder: Any = av.CodecContext.create(self._settings.decoder, "r")
        decoder.thread_count = 1
        shown: dict[int, Any] = {}
        waiting = [packet.frame for packet in encoded.packets]
        pictures = []
        for packet in encoded.packets:
            pictures += decoder.decode(av.Packet(packet.data))
        pictures += decoder.decode(None)
        if len(pictures) != len(waiting):
            raise HeadwireError(f"{self._settings.decoder} gave {len(pictures)} frames for {len(waiting)} packets")
        for number, picture in zip(waiting, pictures, strict=True):
            shown[number] = _scaled(picture.to_ndarray(format="rgb24"), 256)
        out = np.empty((encoded.frames, 256, 256, 3), np.uint8)
        last = shown[waiting[0]]
        for n in range(encoded.frames):
            last = shown.get(n, last)
            out[n] = last
        return out

    def _search(
        self, pictures: list[Any], fps: Fraction, slots: list[int], room: float
    ) -> tuple[int, list[bytes] | None]:
        """The finest quantiser with which they fit into ``room`` bytes, and the packets; the coarsest and None where none does.

        The larger the number the coarser. The logarithm of the bytes is nearly linear in it, so that the next guess is on the
        line through the two trials that are nearest to the room; after some of these, bisection.
        """
        low, high = self._settings.finest, self._settings.coarsest
        used, best = high, None
        tried: list[tuple[int, float]] = []
        guess = high - (high - low) // 4
        while low <= high:
            middle = min(max(guess, low), high) if len(tried) < _GUESSES else (low + high) // 2
            trial = self._coded(pictures, fps, slots, middle, room)
            if trial.packets is not None:
                best, used, high = trial.packets, middle, middle - 1
            else:
                low = middle + 1
            tried.append((middle, math.log(trial.bytes / room)))
            guess = _guessed(tried)
        return used, best

    def _coded(self, pictures: list[Any], fps: Fraction, slots: list[int], quantiser: int, room: float) -> Trial:
        """One packet a picture; none as soon as they take more than ``room`` bytes on the wire."""
        import av

        av.logging.set_level(av.logging.PANIC)
        settings = self._settings
        encoder: Any = av.CodecContext.create(settings.encoder, "w")
        encoder.width, encoder.height = pictures[0].width, pictures[0].height
        encoder.pix_fmt, encoder.time_base = "yuv420p", 1 / fps
        encoder.framerate = fps * len(slots) / (slots[-1] + 1)
        encoder.thread_count, encoder.gop_size, encoder.max_b_frames = 1, 9999, 0
        if settings.bit_rate or settings.encoder.startswith("libvpx"):
            encoder.bit_rate = settings.bit_rate
        encoder.options = {key: value.format(q=quantiser) for key, value in settings.options.items()}
        encoder.open()
        _stay_ordinary()
        packets: list[bytes] = []
        for number, frame in zip(slots, pictures, strict=True):
            frame.pts, frame.time_base = number, 1 / fps
            packets += [_without_notes(bytes(packet), settings.encoder) for packet in encoder.encode(frame)]
            if wire_bytes(packets) > room:
                # SVT-AV1 complains of an encoder that is left in the middle
                encoder.encode(None)
                return Trial(None, wire_bytes(packets) * len(pictures) / len(packets))
        packets += [_without_notes(bytes(packet), settings.encoder) for packet in encoder.encode(None)]
        if len(packets) != len(pictures):
            raise HeadwireError(f"{settings.encoder} gave {len(packets)} packets for {len(pictures)} frames")
        return Trial(None if wire_bytes(packets) > room else packets, wire_bytes(packets))


_GUESSES = 5


@dataclass(frozen=True)
class Trial:
    """packets: None where they did not fit. bytes: on the wire; where the coding was left off, about what they would be."""

    packets: list[bytes] | None
    bytes: float


def _guessed(tried: list[tuple[int, float]]) -> int:
    """The quantiser where the logarithm of bytes over room is 0, just below. tried: quantiser, that logarithm."""
    slope = _SLOPE
    (one, far), *others = sorted(tried, key=lambda trial: abs(trial[1]))
    if others:
        other, further = others[0]
        slope = min(_FLATTEST, (far - further) / (one - other))
    return math.ceil(one - far / slope - 1e-9)


_SLOPE, _FLATTEST = -0.08, -0.02


def _stay_ordinary() -> None:
    """SVT-AV1, run by root, makes its threads and its caller's real-time ones, which leave the machine to nobody else."""
    if not hasattr(os, "sched_setscheduler"):
        return
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))
        except (PermissionError, ProcessLookupError):
            continue


def _without_notes(packet: bytes, encoder: str) -> bytes:
    """Without the text, 0.6 to 2.3 kB, in which x264 and x265 tell of themselves: no call would send it."""
    if encoder not in ("libx264", "libx265"):
        return packet
    units = [unit for unit in re.split(rb"\x00{2,3}\x01", packet) if unit]
    kept = [unit for unit in units if ((unit[0] & 31) != 6 if encoder == "libx264" else (unit[0] >> 1 & 63) != 39)]
    return b"".join(b"\x00\x00\x01" + unit for unit in kept)


def wire_bytes(packets: list[bytes]) -> int:
    """Of one frame each, with their headers."""
    return sum(rtp_bytes(len(packet)) for packet in packets)


def _slots(count: int, fps: Fraction, hertz: float) -> list[int]:
    """The frames that are coded: the first, and then each that is the first after another 1 / hertz."""
    if hertz >= float(fps) * 0.999:
        return list(range(count))
    ticks = [math.floor(n / float(fps) * hertz + 1e-9) for n in range(count)]
    return [n for n in range(count) if n == 0 or ticks[n] != ticks[n - 1]]


def _pictures(frames: list[Any], size: int) -> list[Any]:
    """As the encoders take them."""
    import av

    return [av.VideoFrame.from_ndarray(_scaled(frame, size), "rgb24").reformat(format="yuv420p") for frame in frames]


def _scaled(picture: Any, size: int) -> Any:
    import cv2

    if picture.shape[0] == size:
        return picture
    return cv2.resize(
        picture, (size, size), interpolation=cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_LANCZOS4
    )

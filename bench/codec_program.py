"""libaom's AV1 through the ffmpeg program, for where PyAV's FFmpeg is without it (its wheels are).

The program is found as ``ffmpeg`` on the path or as HEADWIRE_FFMPEG names it. Pictures go in and packets come out through pipes;
settings, search and decoding are those of ``bench.codec_video``.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from fractions import Fraction
from functools import cache
from typing import Any

from bench.codec_video import Trial, Video, wire_bytes
from bench.codecs import MissingCodecError
from codec.errors import HeadwireError

VARIABLE = "HEADWIRE_FFMPEG"
_FILE_HEADER, _FRAME_HEADER = 32, 12
_TIMEOUT_S = 600


class VideoOrProgram(Video):
    """As ``Video``, and by the program where PyAV does not have the encoder."""

    folders = ("bench/codec_video.py",)

    def check(self) -> None:
        try:
            super().check()
        except MissingCodecError as error:
            if not _has(_program(), self._settings.encoder):
                raise MissingCodecError(
                    f"{error}, nor in an ffmpeg program on the path: install one that has it, or name it in {VARIABLE}"
                ) from error

    def _coded(self, pictures: list[Any], fps: Fraction, slots: list[int], quantiser: int, room: float) -> Trial:
        if _in_pyav(self._settings.encoder):
            return super()._coded(pictures, fps, slots, quantiser, room)
        rate = fps * len(slots) / (slots[-1] + 1)
        options = [f"-{key}={value}" for key, value in self._settings.options.items()]
        command = [
            _program() or "ffmpeg",
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
        ]
        command += ["-s", f"{pictures[0].width}x{pictures[0].height}", "-r", str(rate), "-i", "-"]
        command += ["-c:v", self._settings.encoder, "-b:v", "0", "-g", "9999", "-threads", "1"]
        for option in options:
            command += option.format(q=quantiser).split("=", 1)
        raw = b"".join(picture.to_ndarray(format="yuv420p").tobytes() for picture in pictures)
        try:
            done = subprocess.run(
                [*command, "-f", "ivf", "-"], input=raw, capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HeadwireError(f"ffmpeg cannot be run: {error}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
            raise HeadwireError(f"ffmpeg ended with code {done.returncode} ({said[-1][:160]})")
        packets = packets_of(done.stdout)
        if len(packets) != len(pictures):
            raise HeadwireError(f"{self._settings.encoder} gave {len(packets)} packets for {len(pictures)} frames")
        size = wire_bytes(packets)
        return Trial(None if size > room else packets, size)


def packets_of(ivf: bytes) -> list[bytes]:
    """The packets of an IVF file. Raises HeadwireError for what is none."""
    if len(ivf) < _FILE_HEADER or ivf[:4] != b"DKIF":
        raise HeadwireError("ffmpeg wrote no IVF file")
    at, packets = _FILE_HEADER, []
    while at < len(ivf):
        if len(ivf) - at < _FRAME_HEADER:
            raise HeadwireError("ffmpeg's IVF file ends in the middle of a header")
        (size,) = struct.unpack_from("<I", ivf, at)
        at += _FRAME_HEADER
        if size > len(ivf) - at:
            raise HeadwireError("ffmpeg's IVF file ends in the middle of a packet")
        packets.append(ivf[at : at + size])
        at += size
    return packets


def _program() -> str | None:
    return os.environ.get(VARIABLE) or shutil.which("ffmpeg")


@cache
def _has(program: str | None, encoder: str) -> bool:
    if program is None:
        return False
    try:
        done = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return f" {encoder} " in done.stdout.decode(errors="replace")


@cache
def _in_pyav(encoder: str) -> bool:
    import av
    from av.codec.codec import UnknownCodecError

    try:
        av.Codec(encoder, "w")
    except UnknownCodecError:
        return False
    return True

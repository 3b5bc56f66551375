"""Video files: H.264 (.mp4), FFV1 without loss (.mkv), raw (.y4m).

Encoding runs in a thread of its own. A file gets a temporary name beside its place and its own name only when complete.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
from abc import abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats, Picture
from receiver.sinks import Sink, as_rgb, check_writable, with_badge

log = logging.getLogger(__name__)

CRF = 16
QUEUED = 64
"""Frames that may wait for the encoder (12 MB); a real-time sink drops further ones, any other one waits."""
CLOCK = 90000
"""Ticks per second of real-time files."""
LONGEST_GAP_S = 10.0
"""Missing sound up to this long is written as silence."""


def rational(fps: float | Fraction) -> Fraction:
    """The frame rate as the fraction that is meant: 23.976 is 24000/1001. Raises nothing; 0 and nonsense become 25."""
    rate = float(fps)
    if not 0 < rate < 1e5:
        return Fraction(25)
    if abs(rate - round(rate)) < 1e-4:
        return Fraction(round(rate))
    ntsc = Fraction(round(rate * 1.001) * 1000, 1001)
    if ntsc and abs(float(ntsc) - rate) < 1e-3:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


class FileSink(Sink):
    """What all file sinks share: the queue, the thread, the temporary name. Subclasses write."""

    def __init__(self, path: Path, realtime: bool, wait: bool) -> None:
        check_writable(path)
        self.path = path
        self.realtime = realtime
        self._wait = wait
        self.dropped = 0
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix.lower()}")
        try:
            self._partial.touch()
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        self._queue: queue.Queue[tuple[Any, float] | None] = queue.Queue(QUEUED)
        self._failure: HeadwireError | None = None
        self._frames = 0
        self._done = False
        self._abandon = False
        self._thread = threading.Thread(target=self._run, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def show(self, picture: Picture, time_s: float, badge: str | None = None) -> None:
        if badge:
            picture = with_badge(picture, badge)
        self._put((as_rgb(picture), time_s))

    def play(self, samples: Floats, time_s: float) -> None:
        self._put((np.array(samples, np.float32), time_s))

    def _put(self, item: tuple[Any, float]) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            if self._done:
                return
            try:
                self._queue.put(item, block=self._wait, timeout=0.5)
                return
            except queue.Full:
                if not self._wait:
                    self.dropped += 1
                    return

    def close(self, keep: bool = True) -> None:
        if self._done:
            return
        self._done = True
        self._abandon = not keep
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()
        if self._failure is not None or not keep or self._frames == 0:
            self._partial.unlink(missing_ok=True)
        else:
            try:
                os.replace(self._partial, self.path)
            except OSError as error:
                self._partial.unlink(missing_ok=True)
                raise HeadwireError(f"{self.path} cannot be written: {error.strerror}") from error
        if self.dropped:
            log.warning("%s: %d frames were dropped because encoding was too slow", self.path, self.dropped)
        if self._failure is not None and keep:
            raise self._failure

    def _run(self) -> None:
        opened = False
        try:
            while (item := self._queue.get()) is not None:
                if self._abandon:
                    continue
                content, time_s = item
                if content.ndim == 3:
                    if not opened:
                        self._open(content.shape[1], content.shape[0])
                        opened = True
                    self._write(content, time_s, self._frames)
                    self._frames += 1
                elif opened:
                    self._write_sound(content, time_s)
            if opened:
                self._finish()
        except (OSError, ValueError, RuntimeError) as error:
            number = getattr(error, "errno", None)
            reason = "the disk is full" if number == errno.ENOSPC else (getattr(error, "strerror", None) or str(error))
            self._failure = HeadwireError(f"{self.path} cannot be written: {reason}; nothing was kept")
            self._failure.__cause__ = error
            if opened:
                self._drop()

    @abstractmethod
    def _open(self, width: int, height: int) -> None: ...

    @abstractmethod
    def _write(self, picture: Picture, time_s: float, index: int) -> None: ...

    def _write_sound(self, samples: Floats, time_s: float) -> None:
        """Sound is left out where the format has none."""

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _drop(self) -> None: ...


class ContainerSink(FileSink):
    """.mp4 and .mkv through PyAV. In real time .mp4 begins with its first frame; .mkv keeps the call's time stamps."""

    def __init__(
        self, path: Path, fps: float | Fraction, title: str, sample_rate: int | None, realtime: bool, wait: bool
    ) -> None:
        self._lossless = path.suffix.lower() == ".mkv"
        self._rate = rational(fps)
        self._title = title
        self._sample_rate = sample_rate
        super().__init__(path, realtime, wait)

    def _open(self, width: int, height: int) -> None:
        import av

        container: Any = av.open(str(self._partial), "w", format="matroska" if self._lossless else "mp4")
        container.metadata["title"] = self._title
        if self._lossless:
            # bgr0 holds RGB exactly; slices and context stay small: speed over the last percent
            video = container.add_stream("ffv1", rate=self._rate, options={"level": "3", "slices": "4"})
            self._format = "bgr0"
        else:
            preset = "veryfast" if self.realtime else "medium"
            options = {"crf": str(CRF), "preset": preset}
            if self.realtime:
                options["tune"] = "zerolatency"
            video = container.add_stream("libx264", rate=self._rate, options=options)
            self._format = "yuv420p"
            width, height = width - width % 2, height - height % 2
        video.width, video.height, video.pix_fmt = width, height, self._format
        video.codec_context.thread_count = 1
        self._tick = Fraction(1, CLOCK) if self.realtime else 1 / self._rate
        video.codec_context.time_base = self._tick
        self._container, self._video = container, video
        self._previous = -1
        self._began: float | None = 0.0 if self._lossless or not self.realtime else None
        self._audio: Any = None
        if self._sample_rate is not None:
            self._audio = container.add_stream("aac", rate=self._sample_rate, options={"b": "64k"})
            self._audio.codec_context.layout = "mono"
            self._next_sample = 0

    def _write(self, picture: Picture, time_s: float, index: int) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        if frame.width != self._video.width or frame.height != self._video.height or self._format != "rgb24":
            frame = frame.reformat(self._video.width, self._video.height, self._format)
        if self._began is None:
            self._began = time_s
        stamp = round((time_s - self._began) / self._tick) if self.realtime else index
        frame.pts = self._previous = max(stamp, self._previous + 1)
        frame.time_base = self._tick
        self._container.mux(self._video.encode(frame))

    def _write_sound(self, samples: Floats, time_s: float) -> None:
        import av

        if self._audio is None or self._sample_rate is None:
            return
        start = round((time_s - (self._began or 0.0)) * self._sample_rate)
        gap = start - self._next_sample
        if gap < -self._sample_rate // 50:
            samples = samples[-gap:]
        elif gap > self._sample_rate // 25:
            silence = np.zeros(min(gap, round(LONGEST_GAP_S * self._sample_rate)), np.float32)
            self._next_sample = start - len(silence)
            samples = np.concatenate((silence, samples))
        if not len(samples):
            return
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = self._sample_rate
        frame.time_base = Fraction(1, self._sample_rate)
        frame.pts = self._next_sample
        self._next_sample += len(samples)
        self._container.mux(self._audio.encode(frame))

    def _finish(self) -> None:
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()

    def _drop(self) -> None:
        try:
            self._container.close()
        except OSError as error:
            log.debug("closing %s: %s", self._partial, error)


class RawSink(FileSink):
    """.y4m, 4:4:4, BT.601 limited range: what other codecs' tools read. Constant frame rate only."""

    def __init__(self, path: Path, fps: float | Fraction, realtime: bool, wait: bool) -> None:
        self._rate = rational(fps)
        super().__init__(path, realtime, wait)

    def _open(self, width: int, height: int) -> None:
        self._file = self._partial.open("wb")
        rate = f"{self._rate.numerator}:{self._rate.denominator}"
        self._file.write(f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C444\n".encode())

    def _write(self, picture: Picture, time_s: float, index: int) -> None:
        import av

        planes = av.VideoFrame.from_ndarray(picture, "rgb24").to_ndarray(format="yuv444p")
        self._file.write(b"FRAME\n" + planes.tobytes())

    def _finish(self) -> None:
        self._file.close()

    def _drop(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            log.debug("closing %s: %s", self._partial, error)


def open_file_sink(
    path: Path, fps: float | Fraction, title: str, sample_rate: int | None, realtime: bool, wait: bool
) -> FileSink:
    """The sink for the file's ending. sample_rate: of the sound, ``None`` for a silent file."""
    if path.suffix.lower() == ".y4m":
        return RawSink(path, fps, realtime, wait)
    return ContainerSink(path, fps, title, sample_rate, realtime, wait)

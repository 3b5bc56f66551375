"""A minute of call as a picture: what the memory is given, what is painted from which of it, and what that does to the picture.

``python -m bench.memory_timeline`` encodes the demo clip as ``headwire encode`` does, once with the memory and once from one
photo, both with motion; decodes both, and draws ``docs/images/memory-timeline.png``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import metrics
from bench.codec_headwire import Headwire
from bench.codecs import Encoded, Frames
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.motion import NONE, SEQUENCES, MotionDecoder
from codec.parameters import Picture, Region
from codec.photo import completes_picture
from models.memory import PhotoMemory
from receiver.film_style import colour
from sender.capture import open_source
from sender.demo_clip import CLIPS, demo_clip
from sender.tracking import FaceTracker

TARGET = Path("docs/images/memory-timeline.png")
SECONDS = 60.0
RATES = {"with the memory": "normal@3:auto", "one photo": "normal@0:auto"}
EVERY = 5
"""Every so many frames are compared."""
THUMB = 64

_LOOKS: dict[str, dict[str, Any]] = {
    "with the memory": {"color": "#d6336c", "linewidth": 2.2, "zorder": 3},
    "one photo": {"color": "#868e96", "linewidth": 1.6},
}
_MARKS = {Region.WHOLE: "s", Region.MOUTH: "o", Region.EYES: "^"}
_KINDS = {Region.WHOLE: "photo", Region.MOUTH: "mouth patch", Region.EYES: "eye patch"}


@dataclass(frozen=True, eq=False)
class Remembered:
    """A picture that came into the memory. time_s: when. size: bytes of its messages. picture: small, (64, 64, 3) uint8."""

    time_s: float
    photo_id: int
    region: Region
    size: int
    picture: Picture


@dataclass(frozen=True)
class Use:
    """From ``time_s`` on, the whole picture, mouth and eyes are painted from these ids; ``NONE``: as the whole."""

    time_s: float
    photo: int
    mouth: int = NONE
    eyes: int = NONE


@dataclass(frozen=True, eq=False)
class Run:
    """A way of encoding the clip. kbps: (N,) mean since the start, by frame, all messages. seconds: (S,) where measured.
    lpips, psnr: (S,) means of the second around."""

    kbps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    lpips: NDArray[np.float64]
    psnr: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Timeline:
    """clip: its name. fps, frames: of it. runs: by the names of ``RATES``. remembered, uses: of the first of them."""

    clip: str
    fps: float
    frames: int
    runs: dict[str, Run]
    remembered: list[Remembered] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def memory_of(encoded: Encoded, model: FaceModel) -> tuple[list[Remembered], list[Use]]:
    """What a viewer of an encoded clip remembers, and what each change of its motion fields makes it paint from."""
    memory, decoder = PhotoMemory(model), MotionDecoder()
    fps = float(encoded.fps)
    remembered: list[Remembered] = []
    uses: list[Use] = []
    size = 0
    for packet in encoded.packets:
        time_s = packet.frame / fps
        if packet.kind in ("photo", "photos"):
            size += len(packet.data)
            reference = memory.add(packet.data)
            if reference is not None and completes_picture(packet.data):
                own = (reference.photo_id, reference.region)
                remembered.append(Remembered(time_s, *own, size, thumbnail(reference.picture)))
                size = 0
            elif reference is not None:  # the light of a photo that is there
                size -= len(packet.data)
            if not uses and reference is not None:
                uses.append(Use(0.0, reference.photo_id))
        elif packet.kind == "motion":
            nearest = packet.frame + 1 + (packet.data[0] - packet.frame - 1 + 128) % 256 - 128
            motion = decoder.decode(packet.data[1:], nearest % SEQUENCES)
            use = Use(nearest / fps, motion.photo_id, motion.mouth, motion.eyes)
            if (use.photo, use.mouth, use.eyes) != (uses[-1].photo, uses[-1].mouth, uses[-1].eyes):
                uses.append(use)
    return remembered, uses


def thumbnail(picture: Picture) -> Picture:
    """The same, small."""
    import cv2

    return np.asarray(cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA), np.uint8)


def kbps_so_far(encoded: Encoded) -> NDArray[np.float64]:
    """(N,): payload of everything since the start, over the time since, at the end of each frame."""
    sizes = np.zeros(encoded.frames)
    for packet in encoded.packets:
        sizes[min(packet.frame, encoded.frames - 1)] += len(packet.data)
    times = np.arange(1, encoded.frames + 1) / float(encoded.fps)
    return np.asarray(np.cumsum(sizes) * 8 / 1000 / times, np.float64)


def by_second(values: NDArray[np.float64], frames: Sequence[int], fps: float) -> NDArray[np.float64]:
    """Means over whole seconds of values that belong to some frames: (S,)."""
    second = (np.asarray(frames) / fps).astype(int)
    return np.asarray([values[second == s].mean() for s in np.unique(second)])


def bands(uses: Sequence[Use], part: str, seconds: float) -> list[tuple[float, float, int]]:
    """(from, to, id) of what ``photo``, ``mouth`` or ``eyes`` were painted from, s; ``NONE`` is left out."""
    found: list[tuple[float, float, int]] = []
    for use, end in zip(uses, [*(u.time_s for u in uses[1:]), seconds], strict=True):
        number = getattr(use, part)
        if found and found[-1][1:] == (use.time_s, number):
            found[-1] = (found[-1][0], end, number)
        elif number != NONE and end > use.time_s:
            found.append((use.time_s, end, number))
    return found


def draw(timeline: Timeline, target: Path) -> None:
    """The picture. Raises HeadwireError without matplotlib, or where it cannot be written."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise HeadwireError("plots need matplotlib: pip install 'headwire[bench]'") from error
    heights = (1.15, 1.0, 1.5, 1.2, 1.3, 1.3)
    figure, panels = pyplot.subplots(
        len(heights), 1, figsize=(12, 10.4), sharex=True, height_ratios=heights, layout="constrained"
    )
    panels[0].set_xlim(0, timeline.seconds)
    _photos(panels[0], timeline)
    _sizes(panels[1], timeline)
    _bands(panels[2], timeline)
    for name, run in timeline.runs.items():
        look = _LOOKS[name]
        times = np.arange(1, len(run.kbps) + 1) / timeline.fps
        panels[3].plot(times, run.kbps, label=f"{name}: {run.kbps[-1]:.1f}", **look)
        panels[4].plot(run.seconds, run.lpips, label=f"{name}: {run.lpips.mean():.3f}", **look)
        panels[5].plot(run.seconds, run.psnr, label=f"{name}: {run.psnr.mean():.1f}", **look)
    panels[3].set_ylim(0, 12)
    names = ("kbps since\nthe start", "LPIPS\n(lower is better)", "PSNR, dB\n(higher is better)")
    for panel, name in zip(panels[3:], names, strict=True):
        panel.set_ylabel(name)
        panel.legend(loc="best", ncols=2, fontsize=9, framealpha=0.9)
        panel.grid(alpha=0.3)
    panels[4].set_ylim(0, None)
    panels[5].set_xlabel("seconds of call")
    figure.align_ylabels(panels)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=110, metadata={"Software": None} if target.suffix == ".png" else None)
    except OSError as error:
        raise HeadwireError(f"cannot write {target} ({error.strerror}): choose another place") from error
    finally:
        pyplot.close(figure)


def _photos(panel: Any, timeline: Timeline) -> None:
    """The whole photos over the moment at which they came, side by side where these are close."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    panel.set_axis_off()
    panel.set_ylim(0, 1)
    photos = [r for r in timeline.remembered if r.region is Region.WHOLE]
    width = timeline.seconds * min(0.078, 1 / max(1, len(photos)))
    middle = -width
    for number, photo in enumerate(photos):
        room = timeline.seconds - (len(photos) - number - 0.5) * width
        middle = max(middle + width, min(photo.time_s, room), width / 2)
        edge = {"edgecolor": _rgb(photo.photo_id), "linewidth": 3}
        image = OffsetImage(photo.picture, zoom=0.92, interpolation="lanczos")
        panel.add_artist(AnnotationBbox(image, (middle, 0.62), pad=0.1, bboxprops=edge))
        panel.plot((middle, photo.time_s), (0.24, -0.05), color=_rgb(photo.photo_id), clip_on=False, lw=1.6)
    panel.set_title(
        f"The memory in a call of {timeline.seconds:.0f} s (demo clip {timeline.clip}): the photos that were sent",
        fontsize=11,
    )


def _sizes(panel: Any, timeline: Timeline) -> None:
    """A stem for each picture that came."""
    for kept in timeline.remembered:
        panel.vlines(kept.time_s, 50, kept.size, color=_rgb(kept.photo_id), lw=2)
        mark = _MARKS[kept.region]
        panel.plot(kept.time_s, kept.size, mark, ms=7, color=_rgb(kept.photo_id), mec="#444", mew=0.6, clip_on=False)
        if kept.region is Region.WHOLE:
            words = {"textcoords": "offset points", "xytext": (7, -4), "fontsize": 8}
            panel.annotate(f"{kept.size / 1000:.1f} kB", (kept.time_s, kept.size), **words)
    for region, mark in _MARKS.items():
        size = sum(r.size for r in timeline.remembered if r.region is region)
        count = sum(r.region is region for r in timeline.remembered)
        plural = "" if count == 1 else "es" if _KINDS[region].endswith("h") else "s"
        label = f"{count} {_KINDS[region]}{plural}, {size / 1000:.1f} kB"
        panel.plot([], [], mark, ms=7, color="#bbb", mec="#444", mew=0.6, label=label)
    panel.set_yscale("log")
    panel.set_ylim(80, 12_000)
    panel.set_yticks((100, 1000, 10_000), ("100 B", "1 kB", "10 kB"))
    panel.minorticks_off()
    panel.set_ylabel("bytes of\neach picture")
    panel.legend(loc="upper right", ncols=3, fontsize=9, framealpha=0.9)
    panel.grid(alpha=0.3)


def _bands(panel: Any, timeline: Timeline) -> None:
    """What is painted from which picture."""
    parts = ("eyes", "mouth", "photo")
    for row, part in enumerate(parts):
        panel.barh(row, timeline.seconds, 0.72, color="#eceef1", zorder=1)
        for start, end, number in bands(timeline.uses, part, timeline.seconds):
            panel.barh(row, end - start, 0.72, start, color=_rgb(number), zorder=2)
            if end - start > 0.011 * timeline.seconds:
                where = ((start + end) / 2, row)
                panel.text(*where, str(number), ha="center", va="center", fontsize=8.5, color="#111", clip_on=True)
    panel.set_yticks(range(len(parts)), ("eyes from", "mouth from", "all else from"))
    panel.set_ylim(-0.5, len(parts) - 0.5)
    panel.set_ylabel("number of\nthe picture")
    panel.set_title("grey: mouth or eyes come from the photo as all else does", fontsize=8.5, loc="right", pad=3)


def _rgb(photo_id: int) -> tuple[float, ...]:
    return tuple(c / 255 for c in colour(photo_id))


def measure(clip: str = "franck", seconds: float = SECONDS, lpips: metrics.Lpips | None = None) -> Timeline:
    """Encode, decode and compare. Some minutes."""
    frames, fps = cropped(demo_clip(clip), CLIPS[clip].start_s, seconds)
    lpips = lpips or metrics.Lpips()
    chosen = range(0, len(frames), EVERY)
    codec, runs, encoded = Headwire("warp"), {}, []
    for name, rate in RATES.items():
        encoded.append(codec.encode(frames, fps, rate))
        shown = codec.decode(encoded[-1])[::EVERY]
        truth = frames[::EVERY]
        figures = (lpips(truth, shown), metrics.psnr(truth, shown))
        runs[name] = Run(
            kbps_so_far(encoded[-1]),
            np.unique((np.asarray(chosen) / float(fps)).astype(int)) + 0.5,
            *(by_second(of, chosen, float(fps)) for of in figures),
        )
    return Timeline(clip, float(fps), len(frames), runs, *memory_of(encoded[0], FaceModel.load()))


def cropped(path: Path, start_s: float, seconds: float) -> tuple[Frames, Fraction]:
    """(N, 256, 256, 3): a video's frames as a call crops them, and its rate."""
    with open_source(path, None, realtime=False) as source, FaceTracker() as tracker:
        rate = Fraction(source.fps).limit_denominator(100_000)
        pictures = []
        for frame in source:
            if frame.index >= (start_s + seconds) * source.fps:
                break
            if frame.index >= start_s * source.fps:
                pictures.append(tracker.track(frame.picture).picture)
    if not pictures:
        raise HeadwireError(f"{path} has no frame after {start_s:g} s: choose an earlier start")
    return np.stack(pictures), rate


def run() -> dict[str, Any]:
    """Measure, draw, and return the figures."""
    timeline = measure()
    draw(timeline, TARGET)
    figures: dict[str, Any] = {"clip": timeline.clip, "seconds": round(timeline.seconds, 2), "picture": str(TARGET)}
    for region, name in _KINDS.items():
        sizes = [r.size for r in timeline.remembered if r.region is region]
        figures[name.replace(" ", "_")] = {"count": len(sizes), "bytes": sum(sizes)}
    for name, one in timeline.runs.items():
        means = {"lpips": one.lpips.mean(), "psnr": one.psnr.mean()}
        figures[name] = {"kbps": round(one.kbps[-1], 3)} | {k: round(float(v), 4) for k, v in means.items()}
    return figures


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=2))

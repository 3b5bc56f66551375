"""What ``light`` learns from: pictures that a viewer really sees, with what the camera saw.

Every training clip goes through the sender's encoder and the receiver's painter as ``headwire encode`` and ``decode`` do it (photo
after AVIF, parameters as coded and smoothed, motion fields as the closed loop sends them), and every fifth frame is kept.
One folder a clip and pass, written whole or not at all, so that the program goes on where it was stopped::

    FOLDER/SPLIT/CLIP.PASS/shown.npy    (N, 256, 256, 3) uint8: what ``warp`` paints
                           truth.npy    (N, 256, 256, 3) uint8: the camera's picture
                           frames.npz   vertices, photo_vertices (N, 478, 3) float32, control (N, 16, 16, 2) float32 px,
                                        number (N,) of the frame, kind (N,): of KINDS
                           about.json   version, identity, photo bytes, rung
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.hwfile import Channel, Message
from codec.motion import SEQUENCES
from codec.motion_grid import GRID, UNIT
from codec.parameters import SIZE, FrameParameters, Picture, Window
from models.generator import DrivingFrame
from models.warp import Warp
from receiver.painter import FacePainter
from sender.crop import Square
from sender.encoder import EncoderSettings, FaceEncoder
from sender.files import OPENING_MS, RUNGS
from sender.tracking import FaceTracker, Tracked
from training import dataset
from training.options import parsed

VERSION = 2
KINDS = ("still", "motion", "memory")
"""One photo without motion fields; one photo with; several photos with."""

STILL = 0.3
"""Share of the training frames that are painted without their motion field."""

PERIOD_MS = 1000 / dataset.FRAME_RATE


@dataclass(frozen=True)
class TripleSettings:
    """folder: where to, None: ``light`` in the cache folder. passes: times that each clip is encoded, from another photo each.

    every: frames from one kept to the next. first: number of the first pass. processes: workers. split: train or validation.
    photos_kbps: for photos and patches after the first; 0: one photo. least_s, clips: only clips so long, so many of them (0: all).
    """

    folder: Path | None = None
    passes: int = 2
    every: int = 5
    first: int = 0
    processes: int = 1
    split: str = "train"
    photos_kbps: float = 0.0
    least_s: float = 0.0
    clips: int = 0


@dataclass(frozen=True)
class Triples:
    """One clip and pass; arrays are mapped, not read."""

    folder: Path
    identity: str

    @cached_property
    def shown(self) -> Any:
        """(N, 256, 256, 3) uint8."""
        return np.load(self.folder / "shown.npy", mmap_mode="r")

    @cached_property
    def truth(self) -> Any:
        """(N, 256, 256, 3) uint8."""
        return np.load(self.folder / "truth.npy", mmap_mode="r")

    @cached_property
    def frames(self) -> dict[str, NDArray[Any]]:
        """The arrays of ``frames.npz``."""
        with np.load(self.folder / "frames.npz") as file:
            return dict(file)


def triples_directory(folder: Path | None = None) -> Path:
    """The argument, else ``light`` in the cache folder."""
    return folder or dataset.cache_directory() / "light"


def open_triples(folder: Path | None = None, split: str = "train") -> list[Triples]:
    """What is there, by name. Raises UsageError if there is nothing, or somebody held out among the training clips."""
    out, found = dataset.held_out(), []
    for path in sorted((triples_directory(folder) / split).glob("*/about.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["version"] != VERSION:
            raise UsageError(
                f"{path.parent} was made by another version: remove it and run training.light_triples again"
            )
        if split == "train" and about["identity"] in out:
            raise UsageError(f"{path.parent} shows {about['identity']}, who is held out: remove it")
        found.append(Triples(path.parent, about["identity"]))
    if not found:
        raise UsageError(
            f"nothing to learn from in {triples_directory(folder) / split}: run training.light_triples first"
        )
    return found


class _Recorded(FaceTracker):
    """A tracker that knows the landmarks already. frames: (T, 478, 3), NaN where there is no face."""

    def __init__(self, landmarks: NDArray[np.float32]) -> None:
        self._rows = landmarks
        self._next = 0

    def track(self, frame: Picture) -> Tracked:
        row = self._rows[self._next]
        self._next += 1
        return tracked(frame, row)

    def close(self) -> None:
        pass


def tracked(picture: Picture, row: NDArray[np.float32]) -> Tracked:
    """A frame of a clip that is cropped already, with its landmarks; NaN: no face."""
    return Tracked(picture, Window(), Square(0, 0, SIZE), None if np.isnan(row[0, 0]) else row)


class Watched(Warp):
    """``warp``, and what it painted last."""

    def generate(self, frame: DrivingFrame) -> Picture:
        picture = super().generate(frame)
        self.frame, self.vertices = frame, self.source(frame).vertices
        return picture


class _Viewer:
    """The receiving end for a message after another, as ``receiver.files`` has it; gives the frames wanted."""

    def __init__(self, model: FaceModel) -> None:
        self.warp = Watched(model)
        self.painter = FacePainter(self.warp, model, PERIOD_MS)
        self.frames = 0
        self._bundle: list[FrameParameters] = []

    def take(self, message: Message) -> Iterator[tuple[int, FrameParameters]]:
        """Frames that are complete now: number and parameters."""
        if message.channel is Channel.PHOTOS:
            self.painter.add_photo_message(message.data)
        elif message.channel is Channel.MOTION:
            nearest = self.frames + (message.data[0] - self.frames + 128) % 256 - 128
            self.painter.add_motion(message.data[1:], nearest % SEQUENCES)
        elif message.channel is Channel.PARAMETERS:
            yield from self.flush()
            packet = self.painter.decode(message.data)
            size = len(packet.frames)
            self.painter.push(packet, (self.frames + size - 1) * PERIOD_MS)
            numbers = [self.painter.frame_at((self.frames + i) * PERIOD_MS) for i in range(size)]
            self._bundle = [n for n in numbers if n is not None]

    def flush(self) -> Iterator[tuple[int, FrameParameters]]:
        """The frames whose motion fields have all come."""
        bundle, self._bundle = self._bundle, []
        for parameters in bundle:
            yield self.frames, parameters
            self.frames += 1


def make(
    clip: dataset.Clip,
    target: Path,
    number: int,
    every: int,
    judged: bool,
    photos_kbps: float = 0.0,
    kept: Kept | None = None,
) -> str:
    """One pass over one clip; returns why not, or an empty string.

    judged: for validation: photo of the first frame at 7.5 kB, every kept frame both still and with motion. photos_kbps: see
    ``TripleSettings``. kept: keeps more than ``light`` needs.
    """
    if (target / "about.json").is_file():
        return ""
    rng = np.random.default_rng((zlib.crc32(clip.name.encode()), number))
    pictures = list(dataset.frames(clip.path))
    points = dataset.landmarks(clip)
    count = min(len(pictures), len(points))
    seen = np.flatnonzero(~np.isnan(points[:count, 0, 0]))
    if len(seen) < 10:
        return "no face in most frames"
    reference: str | Tracked = "first"
    if number > 0 and not judged:
        at = int(rng.choice(seen))
        reference = tracked(pictures[at], points[at])
    size = 7500 if judged else int(rng.integers(3000, 8001))
    rung = RUNGS["normal"] if judged else str(rng.choice(list(RUNGS.values()), p=(0.6, 0.25, 0.15)))
    model = FaceModel.load()
    how = EncoderSettings(
        reference,
        OPENING_MS,
        every_frame=True,
        photo_bytes=size,
        rung=rung,
        reliable=True,
        motion=True,
        photos_kbps=photos_kbps,
    )
    encoder, viewer = FaceEncoder(_Recorded(points[:count]), model, how), _Viewer(model)
    kept = kept or Kept()

    def look(messages: Sequence[Message]) -> None:
        for message in messages:
            for n, parameters in viewer.take(message):
                keep(n, parameters)

    def keep(n: int, parameters: FrameParameters) -> None:
        if n >= count or (n - number) % every or parameters.confidence == 0:
            return
        kinds = (0, 1) if judged else (int(rng.random() >= STILL),)
        if photos_kbps > 0:
            kinds = (KINDS.index("memory"),)
        for kind in kinds:
            shown = viewer.painter.paint(parameters, n % SEQUENCES if kind else None)
            kept.add(shown, pictures[n], viewer.warp, n, kind)

    try:
        for t in range(count):
            look(encoder.encode(pictures[t], round(t * PERIOD_MS)))
        look(encoder.finish())
    except HeadwireError as error:
        return str(error)
    for n, parameters in viewer.flush():
        keep(n, parameters)
    if not kept.shown:
        return "no frame that the face model fits"
    about = {"version": VERSION, "identity": clip.identity, "photo_bytes": size, "rung": rung, "licence": clip.licence}
    kept.write(target, about)
    return ""


class Kept:
    """What becomes one folder."""

    def __init__(self) -> None:
        self.shown: list[Picture] = []
        self.truth: list[Picture] = []
        self.arrays: dict[str, list[Any]] = {
            "vertices": [],
            "photo_vertices": [],
            "control": [],
            "number": [],
            "kind": [],
        }

    def add(self, shown: Picture, truth: Picture, warp: Watched, number: int, kind: int) -> None:
        """Keep a frame."""
        field = warp.frame.motion
        control = np.zeros((GRID, GRID, 2)) if field is None else field.control * (field.weight / UNIT)
        values = (warp.frame.vertices, warp.vertices, control.astype(np.float32), number, kind)
        for name, value in zip(self.arrays, values, strict=True):
            self.arrays[name].append(np.array(value))
        self.shown.append(shown)
        self.truth.append(truth)

    def more(self, folder: Path) -> dict[str, Any]:
        """Files beside those of ``light``; what to say of them."""
        return {}

    def write(self, target: Path, about: dict[str, Any]) -> None:
        """All of it, or nothing."""
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            np.save(partial / "shown.npy", np.stack(self.shown))
            np.save(partial / "truth.npy", np.stack(self.truth))
            np.savez(partial / "frames.npz", **{k: np.stack(v) for k, v in self.arrays.items()})
            about = about | self.more(partial)
            (partial / "about.json").write_text(json.dumps(about), encoding="utf-8")
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _make(job: tuple[dataset.Clip, Path, int, int, bool, float]) -> str:
    return make(*job)


def run(settings: TripleSettings) -> dict[str, str]:
    """Make what is missing. Returns the clips that were skipped, and why."""
    judged = settings.split != "train"
    base = triples_directory(settings.folder) / settings.split
    split: dataset.Split = "validation" if judged else "train"
    clips = [clip for clip in dataset.clips(split=split) if clip.seconds >= settings.least_s]
    mark = "m" if settings.photos_kbps > 0 else ""
    jobs = []
    for number in range(settings.first, settings.first + (1 if judged else settings.passes)):
        order = np.random.default_rng(number).permutation(len(clips))[: settings.clips or None]
        for i in order:
            target = base / f"{clips[i].name}.{mark}{number}"
            jobs.append((clips[i], target, number, settings.every, judged, settings.photos_kbps))
    return made(_make, jobs, settings.processes)


def made(make_one: Callable[[Any], str], jobs: Sequence[tuple[Any, ...]], processes: int) -> dict[str, str]:
    """Do all jobs, whose second part is the folder to write. Returns the names of those that were skipped, and why."""
    if processes == 1:
        results = list(map(make_one, jobs))
    else:
        with ProcessPoolExecutor(processes) as pool:
            results = list(pool.map(make_one, jobs))
    return {job[1].name: why for job, why in zip(jobs, results, strict=True) if why}


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.light_triples``."""
    (settings,) = parsed("Paint what light learns from.", (TripleSettings,), arguments)
    try:
        skipped = run(settings)
    except HeadwireError as error:
        sys.exit(f"{error}")
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")


if __name__ == "__main__":
    main()

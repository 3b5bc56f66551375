"""The training clips: their index, the split by identity, and a cache of every frame's landmarks.

The clips lie beside the project (``../shared/data``), or where the environment variable ``HEADWIRE_DATA`` says. Nothing
of them is copied into the project; the landmarks are derived once and kept in the ignored folder ``cache/landmarks``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from codec.errors import UsageError
from codec.parameters import Floats, Picture

POINTS = 478
FRAME_RATE = 25.0
Split = Literal["train", "validation", "long"]

_ROOT = Path(__file__).resolve().parent.parent
HELD_OUT = Path(__file__).with_name("held_out.tsv")


def data_directory(data: Path | str | None = None) -> Path:
    """Where the data are: the argument, else ``HEADWIRE_DATA``, else ``../shared/data`` beside the project.

    Raises UsageError if there is no such folder.
    """
    path = Path(data or os.environ.get("HEADWIRE_DATA") or _ROOT.parent / "shared" / "data")
    if not path.is_dir():
        raise UsageError(f"no data folder at {path}: set HEADWIRE_DATA or pass --data")
    return path


def cache_directory(cache: Path | str | None = None) -> Path:
    """Where derived data are kept: the argument, else ``HEADWIRE_CACHE``, else ``cache/`` in the project."""
    return Path(cache or os.environ.get("HEADWIRE_CACHE") or _ROOT / "cache")


@dataclass(frozen=True)
class Clip:
    """One segment of one person, 256x256, 25 frames a second.

    path: the video file. identity: whose face. seconds: length. audio: whether it has sound.
    split: train, or the set of ``held_out.tsv`` that the identity belongs to.
    licence: under which terms the clip was published.
    """

    path: Path
    identity: str
    seconds: float
    audio: bool
    split: Split
    licence: str

    @property
    def name(self) -> str:
        return self.path.stem


def held_out(path: Path = HELD_OUT) -> dict[str, Split]:
    """identity -> set, for those kept out of every training step."""
    sets: dict[str, Split] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            identity, name = line.split("\t")
            if name == "validation":
                sets[identity] = "validation"
            elif name == "long":
                sets[identity] = "long"
            else:
                raise UsageError(f"{path.name}: the set of {identity} is {name!r}, not validation or long")
    return sets


def clips(data: Path | str | None = None, split: Split | None = None) -> list[Clip]:
    """All training segments in the index's order, or those of one split.

    Raises UsageError if the index is missing.
    """
    folder = data_directory(data) / "train"
    index = folder / "index.tsv"
    if not index.is_file():
        raise UsageError(f"no index of clips at {index}")
    out = held_out()
    with index.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = [
        Clip(
            folder / row["file"],
            row["identity"],
            float(row["seconds"]),
            row["audio"] == "1",
            out.get(row["identity"], "train"),
            row["licence"],
        )
        for row in rows
    ]
    return found if split is None else [clip for clip in found if clip.split == split]


def by_identity(of: Iterable[Clip]) -> dict[str, list[Clip]]:
    """identity -> its clips, in order."""
    groups: dict[str, list[Clip]] = {}
    for clip in of:
        groups.setdefault(clip.identity, []).append(clip)
    return groups


def frames(path: Path) -> Iterator[Picture]:
    """Decode a video: (H, W, 3) uint8 RGB pictures in order.

    Raises UsageError if the file cannot be read as a video.
    """
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UsageError(f"{path} holds no video")
            container.streams.video[0].thread_count = 1
            for frame in container.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except FFmpegError as error:
        raise UsageError(f"{path} cannot be read as a video: {error}") from error


def extract_landmarks(path: Path) -> Floats:
    """(T, 478, 3) float32: MediaPipe FaceMesh with irises over one clip, tracked as video.

    x, y in pixels of the picture, z scaled like x; NaN where the face was lost.
    """
    from mediapipe.python.solutions.face_mesh import FaceMesh

    rows = []
    with FaceMesh(refine_landmarks=True, max_num_faces=1, static_image_mode=False) as mesh:
        for picture in frames(path):
            found = mesh.process(picture).multi_face_landmarks
            if found:
                points = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float64)
                height, width = picture.shape[:2]
                rows.append((points * (width, height, width)).astype(np.float32))
            else:
                rows.append(np.full((POINTS, 3), np.nan, np.float32))
    return np.stack(rows) if rows else np.zeros((0, POINTS, 3), np.float32)


def _cache_one(job: tuple[Path, Path]) -> Path:
    source, target = job
    if not target.exists():
        landmarks = extract_landmarks(source)
        partial = target.with_suffix(f".{os.getpid()}.tmp")
        with partial.open("wb") as file:
            np.savez(file, landmarks=landmarks)
        partial.replace(target)
    return target


def prepare(data: Path | str | None = None, cache: Path | str | None = None, processes: int = 2) -> dict[str, Path]:
    """Fill the landmark cache; clip name -> its ``.npz``. Does nothing for what is there already."""
    folder = cache_directory(cache) / "landmarks"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(clip.path, folder / f"{clip.name}.npz") for clip in clips(data)]
    jobs += [(path, folder / f"long_{path.stem}.npz") for path in sorted((data_directory(data) / "long").glob("*.mp4"))]
    missing = [job for job in jobs if not job[1].exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            for _ in pool.map(_cache_one, missing):
                pass
    return {target.stem: target for _, target in jobs}


def landmarks(clip: Clip, cache: Path | str | None = None) -> Floats:
    """(T, 478, 3) float32: the cached landmarks of a clip, found now if they are not there."""
    folder = cache_directory(cache) / "landmarks"
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(_cache_one((clip.path, folder / f"{clip.name}.npz"))) as file:
        return np.asarray(file["landmarks"], np.float32)


if __name__ == "__main__":
    print(f"{len(prepare())} clips with landmarks")

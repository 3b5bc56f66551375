"""Clips made ready for training: pictures as plain arrays, their fits, and references as the receiver would decode
them.

One folder a clip, written whole or not at all, so that ``prepare`` goes on where it was stopped::

    STORE/SPLIT/CLIP/frames.npy       (F, 256, 256, 3) uint8: every ``every``-th frame
                     references.npy   (R, 256, 256, 3) uint8: photos after AVIF
                     fit.npz          parameters (T, 35), good (T,), identity (K,), landmarks (T, 478, 3), audio
                     about.json       version, identity, split, every, frame numbers of the references, face model
    STORE/skipped.tsv                 what could not be used, and why
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from codec.parameters import SIZE, Floats, Picture
from codec.photo import decode_photo, encode_photo
from training.dataset import Clip, Split, cache_directory, extract_landmarks, frames, held_out, landmarks
from training.pairs_fit import fitted, posed, squared
from training.sound import Listener

VERSION = 1


@dataclass(frozen=True)
class StoreSettings:
    """How to make a store.

    every: distance of the stored pictures, frames (fits are kept for all). reference_every: distance of the photos,
    frames; budget: bytes each may take, least and most. seconds: at most so much of a clip, 0 = all. processes:
    workers.
    """

    every: int = 1
    reference_every: int = 25
    budget: tuple[int, int] = (3000, 8000)
    seconds: float = 0.0
    processes: int = 1
    engine: str = "processes"


Job = tuple[Clip, Path, StoreSettings, Listener | None]


@dataclass(frozen=True)
class StoredClip:
    """One prepared clip; arrays are mapped, not read. ``shown[i]`` is the frame number of ``pictures[i]``."""

    folder: Path
    identity: str
    split: str
    every: int
    reference_frames: NDArray[np.int64]

    @cached_property
    def pictures(self) -> Any:
        """(F, 256, 256, 3) uint8."""
        return np.load(self.folder / "frames.npy", mmap_mode="r")

    @cached_property
    def references(self) -> Any:
        """(R, 256, 256, 3) uint8, as decoded."""
        return np.load(self.folder / "references.npy", mmap_mode="r")

    @cached_property
    def fit(self) -> dict[str, Any]:
        """The arrays of ``fit.npz``."""
        with np.load(self.folder / "fit.npz") as file:
            return dict(file)

    @cached_property
    def vertices(self) -> Floats:
        """(T, 478, 3) float32: the posed mesh of every frame, from the parameters *as sent* (quantised)."""
        return posed(FaceModel.load(), self.fit["identity"], self.fit["parameters"])

    @cached_property
    def usable(self) -> NDArray[np.int64]:
        """Indices into ``pictures`` of frames whose own fit and the two before are good."""
        good = self.fit["good"]
        before = np.maximum(np.arange(len(good))[:, None] - np.arange(3), 0)
        shown = np.arange(len(self.pictures)) * self.every
        return np.flatnonzero(good[before].all(1)[shown])

    @cached_property
    def usable_references(self) -> NDArray[np.int64]:
        """Indices into ``references`` of photos with a good fit."""
        return np.flatnonzero(self.fit["good"][self.reference_frames])


def open_store(store: Path | str | None = None, split: str = "train") -> list[StoredClip]:
    """The prepared clips of a split, by name. For ``train``, none whose identity is held out.

    Raises UsageError if there are none, or they were made with another version or face model.
    """
    folder = store_directory(store) / split
    found = []
    kept_out = held_out()
    digest = FaceModel.load().digest.hex()
    for path in sorted(folder.glob("*/about.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["version"] != VERSION or about["face_model"] != digest:
            raise UsageError(
                f"{path.parent} was prepared by another version or face model: run `headwire train prepare` again"
            )
        if split == "train" and about["identity"] in kept_out:
            raise UsageError(
                f"{path.parent} shows {about['identity']}, who is held out: remove it from the training store"
            )
        clip = StoredClip(
            path.parent, about["identity"], split, about["every"], np.array(about["reference_frames"], np.int64)
        )
        if len(clip.usable) and len(clip.usable_references):
            found.append(clip)
    if not found:
        raise UsageError(f"no prepared clips with a face at {folder}: run `headwire train prepare` first")
    return found


def with_sound(clips: Sequence[StoredClip]) -> list[StoredClip]:
    """Those with audio features."""
    return [clip for clip in clips if "audio" in clip.fit]


def store_directory(store: Path | str | None = None) -> Path:
    """Where prepared clips are: the argument, else ``pairs`` in the cache folder."""
    return Path(store) if store else cache_directory() / "pairs"


def folder_clips(folder: Path | str, kept_out: Iterable[str] = ()) -> list[Clip]:
    """The videos of a folder as clips. In VoxCeleb's layout (``id10001/VIDEO/00001.mp4``) the first level names the
    person; elsewhere every video is its own person. Raises UsageError if there is no video.
    """
    root = Path(folder)
    out: dict[str, Split] = {**held_out(), **dict.fromkeys(kept_out, "validation")}
    found = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in {".mp4", ".mkv", ".mov", ".avi", ".webm"}):
        parts = path.relative_to(root).parts
        identity = parts[0] if len(parts) > 2 else path.stem
        found.append(Clip(path, identity, 0.0, False, out.get(identity, "train"), "unknown"))
    if not found:
        raise UsageError(f"no videos in {root}")
    return found


def prepare(
    clips: Iterable[Clip],
    store: Path | str | None = None,
    settings: StoreSettings | None = None,
    audio: Listener | None = None,
    root: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Make a store, in ``settings.processes`` processes; what is there is left alone.

    audio: what hears the clips; None leaves their sound alone. root: where the clips lie, to name those of ``folder_clips``.
    progress: called with the number of clips done, and of all. Returns clip name -> why it was skipped, also written to
    ``skipped.tsv``.
    """
    settings = settings or StoreSettings()
    base = store_directory(store)
    jobs = [(clip, base / clip.split / _name(clip, root), settings, audio) for clip in clips]
    for split in {job[0].split for job in jobs}:
        (base / split).mkdir(parents=True, exist_ok=True)
    skipped = {}
    results = _mapped(jobs, settings)
    for done, ((_, target, _, _), why) in enumerate(zip(jobs, results, strict=True), 1):
        if why:
            skipped[target.name] = why
        if progress is not None:
            progress(done, len(jobs))
    _list_skipped(base / "skipped.tsv", {job[1].name for job in jobs}, skipped)
    return skipped


def _list_skipped(path: Path, tried: set[str], skipped: dict[str, str]) -> None:
    """Bring the list up to date; what other calls skipped stays in it."""
    before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    kept = [line for line in before if line.split("\t")[0] not in tried]
    lines = kept + [f"{name}\t{why}" for name, why in skipped.items()]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _mapped(jobs: Sequence[Job], settings: StoreSettings) -> Iterator[str]:
    if settings.engine == "ray":
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise UsageError("preparing on many machines needs ray: pip install ray") from error
        remote = ray.remote(num_cpus=1, max_retries=3)(prepare_clip)
        yield from (ray.get(handle) for handle in [remote.remote(job) for job in jobs])
    elif settings.engine != "processes":
        raise UsageError(f"there is no engine {settings.engine!r}: choose processes or ray")
    elif settings.processes == 1:
        yield from map(prepare_clip, jobs)
    else:
        with ProcessPoolExecutor(settings.processes) as pool:
            try:
                yield from pool.map(prepare_clip, jobs)
            except BrokenProcessPool as error:
                raise HeadwireError("a worker was killed: run the same again, what is prepared stays") from error


def _name(clip: Clip, root: Path | None) -> str:
    return clip.name if root is None else "__".join(clip.path.relative_to(root).with_suffix("").parts)


def prepare_clip(job: Job) -> str:
    """One clip into the store; returns why not, or an empty string. Never raises for what is wrong with a video."""
    clip, target, settings, audio = job
    about = target / "about.json"
    digest = FaceModel.load().digest.hex()
    if about.is_file():
        said = json.loads(about.read_text(encoding="utf-8"))
        if said["version"] == VERSION:
            return _brought_up(target, said, digest, clip.path, audio)
    try:
        pictures, points = _read(clip, settings)
    except HeadwireError as error:
        return str(error)
    if len(pictures) < 3 or np.isnan(points[:, 0, 0]).mean() > 0.5:
        return f"{clip.path.name}: no face in most of its {len(pictures)} frames"
    arrays = fitted(points)
    if not arrays["good"].any():
        return f"{clip.path.name}: no frame that the face model fits"
    arrays["landmarks"] = points
    try:
        heard = {} if audio is None else audio.arrays(clip.path, len(pictures))
    except HeadwireError as error:
        return str(error)
    write_clip(target, clip, clip.split, settings, pictures, arrays | heard, "" if audio is None else audio.digest)
    return ""


def _brought_up(target: Path, about: dict[str, Any], digest: str, video: Path, audio: Listener | None) -> str:
    """Fit a prepared clip again, to another face model, or hear it with another network; pictures stay."""
    refit = about["face_model"] != digest
    hear = audio is not None and about.get("audio", "") != audio.digest
    if not (refit or hear):
        return ""
    with np.load(target / "fit.npz") as file:
        arrays = dict(file)
    if refit:
        arrays |= fitted(arrays["landmarks"])
    if hear and audio is not None:
        arrays.pop("audio", None)
        try:
            arrays |= audio.arrays(video, len(arrays["good"]))
        except HeadwireError as error:
            return str(error)
        about = {**about, "audio": audio.digest}
    partial = target / "fit.partial.npz"
    np.savez(partial, **arrays)
    partial.replace(target / "fit.npz")
    note = target / "about.partial.json"
    note.write_text(json.dumps({**about, "face_model": digest}), encoding="utf-8")
    note.replace(target / "about.json")
    return ""


def _read(clip: Clip, settings: StoreSettings) -> tuple[list[Picture], Floats]:
    limit = round(25 * settings.seconds) or None
    pictures = []
    for picture in frames(clip.path):
        pictures.append(picture)
        if len(pictures) == limit:
            break
    cached = cache_directory() / "landmarks" / f"{clip.name}.npz"
    points = landmarks(clip) if clip.seconds or cached.is_file() else extract_landmarks(clip.path)
    count = min(len(pictures), len(points))
    pictures, points = pictures[:count], points[:count]
    if count and pictures[0].shape != (SIZE, SIZE, 3):
        pictures, points = squared(pictures, points)
    return pictures, points


def write_clip(
    target: Path,
    clip: Clip,
    split: str,
    settings: StoreSettings,
    pictures: Sequence[Picture],
    arrays: dict[str, Any],
    listener: str = "",
) -> None:
    """Put a clip into a store, whole or not at all. pictures: all frames. arrays: of ``fit.npz``, for all frames.
    listener: digest of what heard its sound.
    """
    chosen = np.arange(0, len(pictures), settings.reference_every)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        np.save(partial / "frames.npy", np.stack(pictures[:: settings.every]))
        low, high = settings.budget
        budgets = np.random.default_rng(zlib.crc32(target.name.encode())).integers(low, high + 1, len(chosen))
        photos = [decode_photo(encode_photo(pictures[t], int(b))) for t, b in zip(chosen, budgets, strict=True)]
        np.save(partial / "references.npy", np.stack(photos))
        np.savez(partial / "fit.npz", **arrays)
        about = {
            "version": VERSION,
            "identity": clip.identity,
            "split": split,
            "every": settings.every,
            "reference_frames": [int(t) for t in chosen],
            "budgets": [int(b) for b in budgets],
            "face_model": FaceModel.load().digest.hex(),
            "licence": clip.licence,
            "audio": listener,
        }
        (partial / "about.json").write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


__all__ = [
    "StoreSettings",
    "StoredClip",
    "fitted",
    "folder_clips",
    "open_store",
    "posed",
    "prepare",
    "squared",
    "with_sound",
    "write_clip",
]

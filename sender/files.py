"""``headwire encode`` and ``headwire fit``: files in, files out, by the same path as a call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.hwfile import HeadwireWriter
from codec.inspection import inspect
from sender.capture import CapturedFrame, Source, open_source
from sender.curtain import photo_with_background, with_background
from sender.encoder import EncoderSettings, FaceEncoder, picture_reference
from sender.tracking import FaceTracker, Tracked

OPENING_MS = 2000

RUNGS = {"normal": "lowest-fine", "low": "lowest-mid", "lowest": "lowest"}
"""A file has no delay to keep short, so every rate takes bundles of four frames."""


@dataclass(frozen=True)
class EncodeSettings:
    """source, target: files. crop: ``auto`` or ``none``. reference: ``first``, a frame number, ``auto`` or a picture file.

    rate, photos_kbps, motion, background: as on the command line. sound: its sound, too, as Opus.
    """

    source: Path
    target: Path
    crop: str = "auto"
    reference: str = "first"
    rate: str = "normal"
    photos_kbps: float = 0.0
    motion: str = "off"
    background: str | None = None
    sound: bool = False


def encode_file(settings: EncodeSettings) -> dict[str, Any]:
    """Encode a video file; every frame of it becomes one frame packet. Returns the figures of ``inspect``.

    Raises UsageError for a source that is no video or shows no face, and for a target that cannot be written.
    """
    model = FaceModel.load()
    reference = _reference(settings)
    if not isinstance(reference, str):
        reference = photo_with_background(reference, settings.background)
    with open_source(settings.source, None, realtime=False) as source, FaceTracker(settings.crop) as tracker:
        how = EncoderSettings(
            reference,
            OPENING_MS,
            every_frame=True,
            rung=RUNGS[settings.rate],
            reliable=True,
            motion=settings.motion == "auto",
            photos_kbps=settings.photos_kbps,
        )
        encoder = FaceEncoder(with_background(tracker, settings.background), model, how)
        with HeadwireWriter(settings.target, Fraction(source.fps).limit_denominator(100_000)) as writer:
            if settings.sound:
                from sender.file_sound import sound_messages

                for message in sound_messages(settings.source):
                    writer.write(message)
            for frame in _with_progress(source, "encoding"):
                writer.frames = frame.index + 1
                for message in encoder.encode(frame.picture, round(frame.index * 1000 / source.fps)):
                    writer.write(message)
            for message in encoder.finish():
                writer.write(message)
    return inspect(settings.target) | {"stages_ms": encoder.stages.medians_ms()}


def _reference(settings: EncodeSettings) -> str | Tracked:
    if settings.reference in ("auto", "first"):
        return settings.reference
    if not settings.reference.isdigit():
        return picture_reference(Path(settings.reference))
    wanted, tracked = int(settings.reference), None
    with open_source(settings.source, None, realtime=False) as source, FaceTracker(settings.crop) as tracker:
        for frame in source:
            tracked = tracker.track(frame.picture)
            if frame.index == wanted:
                break
        else:
            raise UsageError(f"{settings.source} has no frame {wanted}: choose a smaller --reference")
    if tracked.landmarks is None:
        raise UsageError(f"frame {wanted} shows no face: choose another --reference")
    return tracked


def fit_file(source_path: Path, target: Path, crop: str, draw: Path | None) -> dict[str, Any]:
    """Fit the face model to every frame of a video and write the arrays that the command line promises.

    The identity is solved from the first frames with a face (two seconds), then every frame is fitted with it.
    """
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {target}: its folder does not exist; choose another place")
    landmarks: list[NDArray[np.float32] | None] = []
    with open_source(source_path, None, realtime=False) as source, FaceTracker(crop) as tracker:
        for frame in _with_progress(source, "landmarks"):
            landmarks.append(tracker.track(frame.picture).landmarks)
        fps = source.fps
    seen = [x for x in landmarks if x is not None]
    if not seen:
        raise UsageError(f"no face was found in {source_path}")
    model = FaceModel.load()
    opening = Fitter(model)
    for points in seen[: round(OPENING_MS * fps / 1000)]:
        opening.fit(points)
    fitter = Fitter(model, identity=opening.identity)
    frames, points_count = len(landmarks), len(model.mean)
    arrays: dict[str, NDArray[np.float32]] = {
        "expression": np.full((frames, len(model.expression_basis)), np.nan, np.float32),
        "camera": np.full((frames, 7), np.nan, np.float32),
        "landmarks": np.full((frames, points_count, 2), np.nan, np.float32),
        "projected": np.full((frames, points_count, 2), np.nan, np.float32),
    }
    errors, lost = [], 0
    for i, found in enumerate(landmarks):
        result = None if found is None else fitter.fit(found)
        if found is None or result is None or result.lost:
            lost += 1
            continue
        arrays["expression"][i] = result.parameters.expression
        arrays["camera"][i] = result.parameters.camera.vector()
        arrays["landmarks"][i] = found[:, :2]
        arrays["projected"][i] = fitter.vertices(result.parameters)[:, :2]
        errors.append(result.residual)
    try:
        with target.open("wb") as file:
            np.savez_compressed(file, identity=fitter.identity, **arrays)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror}; choose another place") from error
    if draw is not None:
        from sender.draw import draw_fits

        draw_fits(source_path, draw, crop, model, fitter)
    return {
        "frames": frames,
        "lost": lost,
        "error_iod_mean": float(np.mean(errors)) if errors else None,
        "error_iod_max": float(np.max(errors)) if errors else None,
    }


def _with_progress(source: Source, what: str) -> Iterator[CapturedFrame]:
    if not sys.stderr.isatty():
        yield from source
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed} frames"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        for frame in source:
            yield frame
            progress.advance(task)

"""The paper's editing tasks on files: cross-identity reenactment, edits of expression and pose, frontalisation, novel views.

Each is the call's own path with other numbers: photo -> fit; numbers of a driver, or changed ones -> mesh -> generator -> file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codec.controls import Edit, edited, frontal, relative
from codec.errors import UsageError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.motion import NONE, no_motion
from codec.parameters import Floats, FrameParameters, Picture, ReferenceFrame, Region, Window
from models.generator import Generator
from models.memory import PhotoMemory
from models.zoo import create
from receiver.sinks import FILE_KINDS, check_writable, open_sink
from sender.landmarks import Landmarker
from sender.subject import (
    Performance,
    Person,
    distance,
    is_picture,
    local_shapes,
    person_of,
    pictures,
    read_performance,
    read_person,
    read_photo,
    shown,
)

PICTURE_KINDS = (".png", ".jpg", ".jpeg")
FPS = 25.0
QUALITY = 95

NEUTRAL_SHARE = 0.5
"""How much of a driver's own neutral is taken off: on 182 training clips half of it predicts the other half's best."""

STEADY = 0.75
"""Another photo must be nearer than this share of the present one's distance for mouth or eyes to be taken from it."""

FRONT = 0.45
"""Radians of yaw or pitch up to which a frame's own mouth and eyes are turned to the front; beyond, they are half hidden."""


class Studio:
    """Paints one person. Not thread-safe.

    generator: fresh, without photos. times_ms: what each frame took.
    """

    def __init__(self, person: Person, generator: Generator, face_model: FaceModel) -> None:
        self.face_model = face_model
        self.person = person
        self.generator = generator
        self.memory = PhotoMemory(face_model, self.generator)
        # the base last: a network with room for one photo keeps it
        for photo in reversed(person.photos):
            self.memory.remember(photo)
        self._shapes = {p.photo_id: local_shapes(face_model, person.identity, p.parameters) for p in person.photos}
        self._chosen = {Region.MOUTH: person.base.photo_id, Region.EYES: person.base.photo_id}
        self.times_ms: list[float] = []

    def paint(self, parameters: FrameParameters, identity: Floats | None = None) -> Picture:
        """One frame. identity: whose shape the mesh has, if not the person's own."""
        start = time.perf_counter()
        frame = self.memory.driving(parameters, None, self.person.identity if identity is None else identity)
        if len(self.person.photos) > 1:
            here = local_shapes(self.face_model, self.person.identity, parameters)
            mouth, eyes = (self._nearest(region, here[region]) for region in (Region.MOUTH, Region.EYES))
            frame = replace(frame, motion=self._field(mouth, eyes))
        picture = self.generator.generate(frame)
        self.times_ms.append(1000 * (time.perf_counter() - start))
        return picture

    def paint_with(self, parameters: FrameParameters, own: ReferenceFrame) -> Picture:
        """One frame with mouth and eyes from a picture of its own."""
        start = time.perf_counter()
        self.memory.warp.prepare(own)
        frame = replace(
            self.memory.driving(parameters, None, self.person.identity), motion=self._field(own.photo_id, own.photo_id)
        )
        picture = self.generator.generate(frame)
        self.times_ms.append(1000 * (time.perf_counter() - start))
        return picture

    def _field(self, mouth: int, eyes: int) -> Any:
        base = self.person.base.photo_id
        field = no_motion(len(self.times_ms) % 65536, base)
        return replace(field, mouth=NONE if mouth == base else mouth, eyes=NONE if eyes == base else eyes)

    def _nearest(self, region: Region, here: Floats) -> int:
        away = {i: distance(shape[region], here) for i, shape in self._shapes.items()}
        best = min(away, key=lambda i: away[i])
        if away[best] < STEADY * away[self._chosen[region]]:
            self._chosen[region] = best
        return self._chosen[region]

    def figures(self) -> dict[str, Any]:
        """frames, ms_per_frame (median: mesh, rasteriser, generator), photos, model."""
        return {
            "frames": len(self.times_ms),
            "ms_per_frame": float(np.median(self.times_ms)) if self.times_ms else None,
            "photos": len(self.person.photos),
            "model": self.generator.name,
        }


@dataclass(frozen=True)
class ReenactSettings:
    """source: a photo or video. driver: a video. absolute: the driver's camera as it is, not its movement.
    own_neutral: take the driver's own neutral off its expression. driver_identity: the mesh of the driver's identity (the ablation).
    """

    source: Path
    driver: Path
    target: Path
    model: str = "auto"
    absolute: bool = False
    own_neutral: bool = True
    driver_identity: bool = False


def reenact(settings: ReenactSettings) -> dict[str, Any]:
    """The driver's expression and head on the source's face. Returns the figures. Raises UsageError for unusable files."""
    _check_video(settings.target)
    face_model = FaceModel.load()
    generator = create(settings.model, face_model)
    person = read_person(settings.source, face_model)
    driver = read_performance(settings.driver, face_model)
    studio = Studio(person, generator, face_model)
    first = next((p for p in driver.parameters if p.confidence > 0), driver.parameters[0]).camera
    change = NEUTRAL_SHARE * (person.neutral - driver.neutral(face_model)) if settings.own_neutral else np.float32(0)
    with open_sink(str(settings.target), fps=driver.fps, realtime=False) as sink:
        for i, parameters in shown(enumerate(driver.parameters), "painting", len(driver.parameters)):
            camera = parameters.camera
            if not settings.absolute:
                camera = relative(camera, first, person.base.parameters.camera)
            expression = (parameters.expression + change).astype(np.float32)
            posed = FrameParameters(expression, camera, Window(), parameters.confidence)
            identity = driver.identity if settings.driver_identity else None
            sink.show(studio.paint(posed, identity), i / driver.fps)
    return studio.figures() | {"fps": driver.fps, "lost": driver.lost}


def edit(photo: Path, target: Path, change: Edit, model: str = "auto", seconds: float | None = None) -> dict[str, Any]:
    """A photo with another expression or pose: a picture, or a video that moves there in ``seconds`` (2)."""
    change.check()
    return _moved(photo, target, model, seconds, 2.0, [change], closed=False)


def view(
    photo: Path,
    target: Path,
    pose: Edit,
    model: str = "auto",
    seconds: float | None = None,
    turn: float = 20.0,
    nod: float = 10.0,
) -> dict[str, Any]:
    """The head from elsewhere: a video that turns by ``turn`` degrees to both sides, then nods by ``nod``; or only ``pose``."""
    pose.check()
    if pose == Edit() and target.suffix.lower() in PICTURE_KINDS:
        raise UsageError(f"{target} is one picture: say which with --yaw or --pitch, or name a video")
    sweep = [Edit(yaw=turn), Edit(yaw=-turn), Edit(pitch=nod), Edit(pitch=-nod)]
    for stop in sweep:
        stop.check()
    return _moved(photo, target, model, seconds, 5.0, sweep if pose == Edit() else [pose], closed=pose == Edit())


def _moved(
    photo: Path, target: Path, model: str, seconds: float | None, usual_s: float, stops: list[Edit], closed: bool
) -> dict[str, Any]:
    """Paint a photo on its way through some edits, and back to itself if ``closed``; or at the last, if OUT is a picture."""
    still = _check_any(target)
    if still and seconds is not None:
        raise UsageError(f"--seconds is for a video, and {target} is a picture: leave one of them out")
    face_model = FaceModel.load()
    generator = create(model, face_model)
    person = read_photo(photo, face_model)
    studio = Studio(person, generator, face_model)
    start = person.base.parameters
    ends = [edited(face_model, person.identity, start, stop).vector() for stop in stops]
    if still:
        _save(studio.paint(FrameParameters.from_vector(ends[-1])), target)
        return studio.figures()
    ways = np.array([start.vector(), *ends, *([start.vector()] if closed else [])])
    frames = max(2, round((usual_s if seconds is None else seconds) * FPS))
    with open_sink(str(target), fps=FPS, realtime=False) as sink:
        for i in shown(range(frames), "painting", frames):
            at = i / (frames - 1) * (len(ways) - 1)
            k = min(int(at), len(ways) - 2)
            t = at - k
            ease = np.float32(t * t * (3 - 2 * t))
            sink.show(studio.paint(FrameParameters.from_vector(ways[k] + ease * (ways[k + 1] - ways[k]))), i / FPS)
    return studio.figures() | {"fps": FPS}


def frontalise(source: Path, target: Path, model: str = "auto") -> dict[str, Any]:
    """A photo or video with the head turned to the front; place and size stay.

    The figures say how far the heads were turned (``rotation_before``) and still are (``are``), by fitting what was painted:
    mean magnitude of pitch, yaw and roll, degrees.
    """
    face_model = FaceModel.load()
    photo = is_picture(source)
    (_check_picture if photo else _check_video)(target)
    generator = create(model, face_model)
    if photo:
        person = read_photo(source, face_model)
        studio = Studio(person, generator, face_model)
        parameters = person.base.parameters
        with RotationLeft(face_model, person.identity) as left:
            picture = studio.paint(replace(parameters, camera=frontal(parameters.camera)))
            left.look(picture)
        _save(picture, target)
        return studio.figures() | _turned([parameters]) | left.figures()
    performance = read_performance(source, face_model)
    studio = Studio(person_of(performance, face_model), generator, face_model)
    with (
        RotationLeft(face_model, performance.identity) as left,
        open_sink(str(target), fps=performance.fps, realtime=False) as sink,
    ):
        painted = _frontal_frames(source, performance, studio)
        for i, picture in shown(enumerate(painted), "painting", len(performance.parameters)):
            left.look(picture)
            sink.show(picture, i / performance.fps)
    seen = [p for p in performance.parameters if p.confidence > 0]
    return studio.figures() | {"fps": performance.fps, "lost": performance.lost} | _turned(seen) | left.figures()


OWN = 30
"""Id in the memory of the frame that is being turned."""


def _frontal_frames(source: Path, performance: Performance, studio: Studio) -> Iterator[Picture]:
    """Hair and skin from the most frontal photo, mouth and eyes from the frame itself unless it is turned far."""
    for picture, parameters in zip(pictures(source, performance.squares), performance.parameters, strict=False):
        straight = FrameParameters(parameters.expression, frontal(parameters.camera), Window(), parameters.confidence)
        if parameters.confidence == 0 or np.abs(parameters.camera.rotation[:2]).max() > FRONT:
            yield studio.paint(straight)
            continue
        own = ReferenceFrame(
            OWN, picture, replace(parameters, window=Window()), performance.identity, region=Region.MOUTH
        )
        yield studio.paint_with(straight, own)


class RotationLeft:
    """Fits painted pictures and says how far their heads are turned. fits: of all pictures in which a face was found."""

    def __init__(self, model: FaceModel, identity: Floats) -> None:
        self._fitter = Fitter(model, identity=identity)
        self._landmarker = Landmarker()
        self.fits: list[FrameParameters] = []
        self._missed = 0

    def __enter__(self) -> RotationLeft:
        return self

    def __exit__(self, *_: object) -> None:
        self._landmarker.close()

    def look(self, picture: Picture) -> None:
        landmarks = self._landmarker.detect(picture)
        result = None if landmarks is None else self._fitter.fit(landmarks)
        if result is None or result.lost:
            self._missed += 1
        else:
            self.fits.append(result.parameters)

    def figures(self) -> dict[str, Any]:
        """are: degrees. faces_not_found: painted frames in which no face was found."""
        return {"are": _mean_turn(self.fits), "faces_not_found": self._missed}


def _turned(parameters: list[FrameParameters]) -> dict[str, Any]:
    return {"rotation_before": _mean_turn(parameters)}


def _mean_turn(parameters: list[FrameParameters]) -> float | None:
    if not parameters:
        return None
    return float(np.degrees(np.abs([p.camera.rotation for p in parameters])).mean())


def _check_video(target: Path) -> None:
    if target.suffix.lower() not in FILE_KINDS:
        raise UsageError(f"cannot write a video to {target}: the name must end in one of {', '.join(FILE_KINDS)}")
    check_writable(target)


def _check_picture(target: Path) -> None:
    if target.suffix.lower() not in PICTURE_KINDS:
        raise UsageError(f"cannot write a picture to {target}: the name must end in one of {', '.join(PICTURE_KINDS)}")
    check_writable(target)


def _check_any(target: Path) -> bool:
    """Whether a target is a picture; raises UsageError if it is neither that nor a video."""
    still = target.suffix.lower() in PICTURE_KINDS
    if not still and target.suffix.lower() not in FILE_KINDS:
        known = ", ".join(PICTURE_KINDS + FILE_KINDS)
        raise UsageError(f"cannot write to {target}: the name must end in one of {known}")
    check_writable(target)
    return still


def _save(picture: Picture, target: Path) -> None:
    """Write a picture, whole or not at all."""
    from PIL import Image

    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix.lower()}")
    try:
        Image.fromarray(picture).save(partial, quality=QUALITY)
        os.replace(partial, target)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}; choose another place") from error
    finally:
        partial.unlink(missing_ok=True)

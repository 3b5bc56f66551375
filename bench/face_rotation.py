"""Rotation of the fit against the truth: faces rendered at known angles, found by the landmark network, fitted.

The face is a person's own frontal frame, laid on the fitted mesh and turned; the picture behind is the frame blurred.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec import raster
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import Camera, FrameParameters, Picture
from training import dataset

YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
PITCHES_ROLLS = ((0.0, 0.0), (15.0, 0.0), (-15.0, 0.0), (0.0, 15.0))


def render(model: FaceModel, neutral: Any, source: Picture, fit: FrameParameters, camera: Camera) -> Picture:
    """The face of ``source``, whose fit is ``fit`` on the shape ``neutral`` (478, 3), as ``camera`` would see it."""
    import cv2

    shape = model.express(neutral, fit.expression)
    seen = model.project(shape, fit.camera)
    visibility = raster.rasterise(model.project(shape, camera), model.triangles)
    field = raster.flow(visibility, model.triangles, seen[:, :2])
    warped = cv2.remap(
        source, field[..., 0] - 0.5, field[..., 1] - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    behind = cv2.GaussianBlur(source, (0, 0), 20)
    return np.where(visibility.mask[..., None], warped, behind).astype(np.uint8)


def rotation_error(model: FaceModel, clips: list[dataset.Clip], cache: Path | str | None = None) -> dict[str, float]:
    """Mean absolute difference of pitch, yaw and roll, degrees, over people and angles, yaw to 45 degrees."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    errors, yaws, missed = [], [], 0
    with FaceMesh(refine_landmarks=True, max_num_faces=1, static_image_mode=True) as mesh:
        for clip in clips:
            points = dataset.landmarks(clip, cache)
            fitter = Fitter(model)
            results = [fitter.fit(row) for row in points]
            fitter = Fitter(model, fitter.identity)
            results = [fitter.fit(row) for row in points]
            turned = [float(np.abs(r.parameters.camera.rotation[:2]).sum()) + 9.0 * r.lost for r in results]
            best = int(np.argmin(turned))
            source = next(picture for number, picture in enumerate(dataset.frames(clip.path)) if number == best)
            fit, neutral = results[best].parameters, model.neutral(fitter.identity)
            for yaw in YAWS:
                for pitch, roll in PITCHES_ROLLS:
                    angles = np.radians((pitch, yaw, roll)).astype(np.float32)
                    camera = Camera(fit.camera.scale, angles, np.array([128.0, 128.0, 0.0], np.float32))
                    found = mesh.process(render(model, neutral, source, fit, camera)).multi_face_landmarks
                    if not found:
                        missed += 1
                        continue
                    seen = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32) * 256.0
                    fitter.restart()
                    difference = np.degrees(fitter.fit(seen).parameters.camera.rotation - angles)
                    errors.append(difference)
                    yaws.append(yaw)
    table, side = np.array(errors), np.array(yaws)
    figures = {
        "rotation_degrees": float(np.abs(table).mean()),
        "rotation_pitch": float(np.abs(table[:, 0]).mean()),
        "rotation_yaw": float(np.abs(table[:, 1]).mean()),
        "rotation_roll": float(np.abs(table[:, 2]).mean()),
        "rotation_renders": len(table),
        "rotation_not_found": missed,
    }
    for yaw in YAWS:
        if (side == yaw).any():
            figures[f"rotation_yaw_at_{yaw:+.0f}"] = float(table[side == yaw, 1].mean())
    return figures

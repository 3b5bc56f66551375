"""Which frame becomes the photo: sharp, frontal, eyes open, mouth at rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codec.face_model import LEFT_EYELIDS, RIGHT_EYELIDS
from codec.parameters import SIZE, Floats, FrameParameters, Picture

_YAW_WEIGHT = 2.0
_PITCH_WEIGHT = 1.0


def sharpness(picture: Picture, landmarks: Floats) -> float:
    """Variance of the Laplacian inside the face's bounding box, on grey values: larger is sharper."""
    import cv2

    left, top = np.clip(landmarks[:, :2].min(0), 0, 255).astype(int)
    right, bottom = np.clip(np.ceil(landmarks[:, :2].max(0)), 1, 256).astype(int)
    face = picture[top:bottom, left:right]
    if face.shape[0] < 8 or face.shape[1] < 8:
        return 0.0
    return float(cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def eye_opening(landmarks: Floats) -> float:
    """Height over width of the narrower of the two eye openings; an open eye is about 0.3, a closed one under 0.1."""

    def ratio(ring: Sequence[int]) -> float:
        points = landmarks[np.asarray(ring), :2]
        axis = points[8] - points[0]
        width = float(np.linalg.norm(axis)) + 1e-6
        across = (points - points[0]) @ np.array([-axis[1], axis[0]]) / width
        return float(np.ptp(across)) / width

    return min(ratio(list(RIGHT_EYELIDS)), ratio(list(LEFT_EYELIDS)))


def _room(landmarks: Floats) -> float:
    """0.3..1: how much of the picture is left on the narrowest side of the face, in fifths of its height."""
    points = landmarks[:, :2]
    low, high = points.min(0), points.max(0)
    margin = min(float(low.min()), float((SIZE - high).min())) / max(float(high[1] - low[1]), 1.0)
    return float(np.clip(5 * margin, 0.3, 1.0))


def best_reference(pictures: Sequence[Picture], landmarks: Sequence[Floats], fits: Sequence[FrameParameters]) -> int:
    """Index of the frame that makes the best photo.

    The wishes multiply: sharpness relative to the best (square root, so that it does not outweigh the rest), eyes open, a
    head that looks at the camera, and room around it, so that hair and chin are on the photo.
    """
    sharp = np.sqrt([sharpness(p, x) for p, x in zip(pictures, landmarks, strict=True)])
    eyes = np.array([eye_opening(x) for x in landmarks])
    turned = np.array(
        [abs(_YAW_WEIGHT * f.camera.rotation[1]) + abs(_PITCH_WEIGHT * f.camera.rotation[0]) for f in fits]
    )
    room = np.array([_room(x) for x in landmarks])
    trust = np.array([f.confidence for f in fits])
    score = sharp / max(sharp.max(), 1e-6) * np.minimum(eyes / max(float(np.median(eyes)), 1e-6), 1.1) * np.exp(-turned)
    return int(np.argmax(score * trust * room))

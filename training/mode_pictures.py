"""The picture of the first expression modes in ``docs/face-model.md``: ``python -m training.mode_pictures OUT.jpg``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import INNER_LIPS, LEFT_EYELIDS, LEFT_IRIS, OUTER_LIPS, RIGHT_EYELIDS, RIGHT_IRIS, FaceModel
from codec.foreign_fit import shaded

MODES, COLUMNS, AMOUNT = 6, 3, 2.5
ENLARGE, FRACTION = 1.5, 4
WINDOW = (slice(60, 350), slice(50, 334))
"""Rows and columns of the enlarged picture that hold the face."""
LIP, MOUTH, WHITE, IRIS, PUPIL = (170, 70, 75), (60, 20, 25), (240, 240, 240), (80, 60, 40), (15, 15, 15)


def face_picture(model: FaceModel, expression: NDArray[Any], label: str) -> NDArray[np.uint8]:
    """The mean face with an expression (28,), lit, with eyes and lips coloured."""
    import cv2

    posed = replace(model, mean=model.express(model.mean, expression))
    picture, _, _, seen = shaded(posed, fill=0.8)
    side = round(ENLARGE * len(picture))
    canvas = np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC), np.float64)
    points = np.round(seen[:, :2] * ENLARGE * (1 << FRACTION)).astype(np.int32)

    def area(loop: NDArray[Any]) -> NDArray[np.float64]:
        mask = np.zeros((side, side), np.uint8)
        cv2.fillPoly(mask, [points[loop]], (255,), cv2.LINE_AA, FRACTION)
        return mask[..., None] / 255.0

    for lids, iris in ((RIGHT_EYELIDS, RIGHT_IRIS), (LEFT_EYELIDS, LEFT_IRIS)):
        eye = np.full((side, side, 3), WHITE, np.uint8)
        centre = points[iris[1:]].mean(axis=0)
        radius = float(np.linalg.norm(points[iris[1:]] - centre, axis=1).mean())
        x, y = (round(float(c)) for c in centre)
        cv2.circle(eye, (x, y), round(radius), IRIS, -1, cv2.LINE_AA, FRACTION)
        cv2.circle(eye, (x, y), round(0.45 * radius), PUPIL, -1, cv2.LINE_AA, FRACTION)
        opening = area(lids)
        canvas = canvas * (1.0 - opening) + eye * opening
    inner = area(INNER_LIPS)
    lips = 0.45 * np.maximum(area(OUTER_LIPS) - inner, 0.0)
    canvas = canvas * (1.0 - lips) + np.array(LIP) * lips
    canvas = canvas * (1.0 - inner) + np.array(MOUTH) * inner
    out = np.ascontiguousarray(canvas.clip(0, 255).astype(np.uint8)[WINDOW])
    cv2.putText(out, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return out


def mode_picture(model: FaceModel) -> NDArray[np.uint8]:
    """The first six modes, each at minus and plus 2.5 standard deviations."""
    faces = []
    for mode in range(MODES):
        for amount in (-AMOUNT, AMOUNT):
            expression = np.zeros(len(model.expression_basis), np.float32)
            expression[mode] = amount
            faces.append(face_picture(model, expression, f"mode {mode + 1}: {amount:+.1f}"))
    rows = [np.concatenate(faces[i : i + 2 * COLUMNS], axis=1) for i in range(0, len(faces), 2 * COLUMNS)]
    return np.concatenate(rows)


if __name__ == "__main__":
    import cv2

    image = mode_picture(FaceModel.load())[:, :, ::-1]
    cv2.imwrite(sys.argv[1], image, [cv2.IMWRITE_JPEG_QUALITY, 88])

"""From landmarks to what a store holds: a square cut around a face, the fit of every frame, and the mesh that is posed from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.parameters import EXPRESSION, PARAMETERS, SIZE, Camera, Floats, Picture
from codec.quantiser import dequantise, quantise

SIDE = 1.75
"""Side of the square around a face, in heights of its mesh, where a video is not square yet (as in the training clips).
"""


def posed(model: FaceModel, identity: Floats, parameters: Floats) -> Floats:
    """(K,), (T, 35) exact parameters -> (T, 478, 3): the meshes that the receiver will pose from them."""
    neutral = model.neutral(identity)
    out = np.empty((len(parameters), len(model.mean), 3), np.float32)
    for t, row in enumerate(parameters):
        sent = dequantise(quantise(row))
        out[t] = model.project(model.express(neutral, sent[:EXPRESSION]), Camera.from_vector(sent[EXPRESSION:]))
    return out


def fitted(points: Floats) -> dict[str, Any]:
    """(T, 478, 3) landmarks -> parameters (T, 35), identity (K,), good (T,): identity from all frames, then held."""
    first = Fitter()
    for row in points:
        first.fit(row)
    fitter = Fitter(identity=first.identity)
    parameters = np.zeros((len(points), PARAMETERS), np.float32)
    good = np.zeros(len(points), bool)
    for t, row in enumerate(points):
        result = fitter.fit(row)
        parameters[t] = result.parameters.vector()
        good[t] = not result.lost and result.parameters.confidence > 0
    return {"parameters": parameters, "identity": fitter.identity, "good": good}


def squared(pictures: Sequence[Picture], points: Floats) -> tuple[list[Picture], Floats]:
    """One fixed square for a whole clip, VoxCeleb's way: side 1.75 x the mesh's median height, resized to 256x256."""
    import cv2

    if np.isnan(points[:, 0, 0]).all():
        return list(pictures), points
    low, high = np.nanmin(points[:, :, :2], 1), np.nanmax(points[:, :, :2], 1)
    side = SIDE * float(np.nanmedian(high[:, 1] - low[:, 1]))
    left, top = np.nanmedian((low + high) / 2, 0) - side / 2
    factor = SIZE / side
    move = np.array(((factor, 0, -left * factor + factor / 2 - 0.5), (0, factor, -top * factor + factor / 2 - 0.5)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    out: list[Any] = [
        cv2.warpAffine(p, move, (SIZE, SIZE), flags=how, borderMode=cv2.BORDER_REPLICATE) for p in pictures
    ]
    moved = (points - np.array((left, top, 0.0))) * factor
    return out, moved.astype(np.float32)

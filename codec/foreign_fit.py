"""Which points of a foreign face model the landmarks are: the neutral mesh is rendered and the landmark network run on it.

What is found is a triangle and a place in it for each of the 478 landmarks. Sampled there, the foreign model is a small
model with the same coefficients, which ``Fitter`` can fit; the dense one is then posed and drawn with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError
from codec.face_model import GROUPS, OUTER_EYE_CORNERS, POINTS, FaceModel, Indices, rotation_matrix
from codec.parameters import SIZE, Floats, Picture

Finder = Callable[[Picture], NDArray[Any] | None]
"""A picture (256, 256, 3) uint8 RGB -> (478, 3) landmarks in pixels, or None where no face is found."""

SKIN_COLOUR = np.array([215.0, 170.0, 145.0])
BEHIND = np.array([90.0, 110.0, 130.0])


@dataclass(frozen=True)
class ForeignFace:
    """A foreign model in two forms with the same coefficients and the same camera.

    dense: all its points and triangles. sparse: the 478 landmarks on the FaceMesh topology, for ``Fitter``.
    triangle: (478,) int32 of the dense one and barycentric: (478, 3) float32, where the landmarks are on it.
    """

    dense: FaceModel
    sparse: FaceModel
    triangle: Indices
    barycentric: Floats


def shaded(
    model: FaceModel, yaw: float = 0.0, fill: float = 0.62, pitch: float = 0.0, roll: float = 0.0
) -> tuple[Picture, Indices, Floats, Floats]:
    """The neutral face of a model, lit from the front, turned by angles in radians.

    Returns the picture, the triangle each pixel shows (-1: none) (256, 256), the barycentric weights (256, 256, 2), and
    the points in the picture (N, 3). fill: width of the mesh over the picture's.
    """
    from codec.raster import _rasterise

    points = model.mean - 0.5 * (model.mean.max(axis=0) + model.mean.min(axis=0))
    size = fill * SIZE / max(float(np.ptp(model.mean[:, 0])), 1e-9)
    seen = (points @ rotation_matrix((pitch, yaw, roll)).T * size).astype(np.float32)
    seen[:, :2] += SIZE / 2
    triangle = np.empty((SIZE, SIZE), np.int32)
    barycentric = np.zeros((SIZE, SIZE, 2), np.float32)
    _rasterise(seen, model.triangles, triangle, barycentric, np.empty((SIZE, SIZE), np.float32))
    a, b, c = (seen[model.triangles[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    flat *= np.where(flat[:, 2:] > 0, -1.0, 1.0) if _mixed(flat) else 1.0
    normal = np.zeros_like(seen)
    for i in range(3):
        np.add.at(normal, model.triangles[:, i], flat)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    light = np.array([0.0, -0.1, -1.0]) / np.hypot(0.1, 1.0)
    bright = np.abs(normal @ light) ** 0.7
    there = triangle >= 0
    weights = np.dstack((barycentric, 1.0 - barycentric.sum(axis=2)))
    shade = (bright[model.triangles[np.maximum(triangle, 0)]] * weights).sum(axis=2)
    picture = np.where(there[..., None], shade[..., None] * SKIN_COLOUR, BEHIND)
    return picture.clip(0, 255).astype(np.uint8), triangle, barycentric, seen


def _mixed(normals: NDArray[Any]) -> bool:
    """Whether a mesh is wound in both senses, so that its normals must be turned to the viewer one by one."""
    return bool(
        0.2 < (normals[:, 2] > 0).mean() < 0.8 and np.abs(normals[:, 2].sum()) < 1e-3 * np.abs(normals[:, 2]).sum()
    )


def adapt(model: FaceModel, find: Finder, triangles: Indices) -> ForeignFace:
    """A dense foreign model, the landmark network, the FaceMesh triangles -> both forms, in eye-corner units.

    Raises HeadwireError if the network finds no face on the rendered mesh at any size.
    """
    for fill in (0.62, 0.5, 0.75, 0.4):
        picture, triangle, barycentric, _ = shaded(model, fill=fill)
        landmarks = find(picture)
        if landmarks is not None:
            break
    else:
        raise HeadwireError("the landmark network sees no face in this model's neutral mesh: is its front at +z?")
    rows, columns = np.nonzero(triangle >= 0)
    centres = np.column_stack((columns, rows)) + 0.5
    where = np.empty(POINTS, np.int64)
    for n, point in enumerate(np.asarray(landmarks, np.float64)[:, :2]):
        where[n] = int(np.argmin(((centres - point) ** 2).sum(axis=1)))
    number = triangle[rows[where], columns[where]].astype(np.int32)
    two = barycentric[rows[where], columns[where]]
    weights = np.column_stack((two, 1.0 - two.sum(axis=1))).astype(np.float32)
    corner = model.triangles[number]

    def sample(values: Floats) -> Floats:
        picked: Floats = np.einsum("...pcx,pc->...px", values[..., corner, :], weights).astype(np.float32)
        return picked

    mean = sample(model.mean)
    right, left = OUTER_EYE_CORNERS
    unit = max(float(np.linalg.norm(mean[left] - mean[right])), 1e-6)
    dense = replace(
        model,
        mean=model.mean / unit,
        identity_basis=model.identity_basis / unit,
        expression_basis=model.expression_basis / unit,
    )
    sparse = FaceModel(
        mean / unit,
        sample(model.identity_basis) / unit,
        sample(model.expression_basis) / unit,
        triangles,
        model.names,
        model.provenance,
        GROUPS,
    )
    return ForeignFace(dense, sparse, number, weights)

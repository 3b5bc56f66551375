"""What ``light``'s network sees of a frame: the warped picture in cells of 4x4 pixels, and what the mesh says of each cell."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from codec.parameters import SIZE, Floats, Picture
from codec.raster import Mesh, Visibility, pncc_colours
from models.openings import LEFT_EYE, MOUTH, RIGHT_EYE

CELL = 4
"""Side of a cell, pixels."""

CELLS = SIZE // CELL
COLOURS = 3 * CELL * CELL
GEOMETRY = 12
"""Channels that describe a cell beside its colours: see ``Geometry``."""

_FAR = 32.0
_MOVED = 16.0


class Geometry:
    """The mesh of a frame, as the means over cells of

    PNCC (3), mesh seen (1), how much the skin faces the viewer now and in the photo (2), how far it lies from its place in the photo,
    x, y in 32 px (2), inside of the mouth (1), of the eyes (1); and the residual motion field, x, y in 16 px (2).
    """

    def __init__(self, mesh: Mesh) -> None:
        self.triangles = np.ascontiguousarray(mesh.triangles, np.int32)
        table = np.zeros((len(self.triangles), GEOMETRY - 2), np.float32)
        table[:, :3] = pncc_colours(mesh)
        table[:, 3] = 1
        table[:, 8] = _inside(self.triangles, MOUTH)
        table[:, 9] = _inside(self.triangles, RIGHT_EYE) | _inside(self.triangles, LEFT_EYE)
        self._table = table

    def __call__(
        self, visibility: Visibility, vertices: Floats, photo_vertices: Floats, control: Floats | None
    ) -> Floats:
        """(12, 64, 64) float32. vertices, photo_vertices: (478, 3), the posed meshes. control: (16, 16, 2) px, or None: no motion."""
        table = self._table.copy()
        corners, there = vertices[self.triangles], photo_vertices[self.triangles]
        table[:, 4], table[:, 5] = _facing(corners), _facing(there)
        table[:, 6:8] = (corners[..., :2] - there[..., :2]).mean(1) * np.float32(1 / _FAR)
        out = np.zeros((GEOMETRY, CELLS, CELLS), np.float32)
        _means(visibility.triangle, np.clip(table, -4, 4), out)
        if control is not None:
            out[-2:] = between(control) * np.float32(1 / _MOVED)
        return out


def between(control: Floats) -> Any:
    """(16, 16, 2) control points at the middles of their cells -> (2, 64, 64), bilinear."""
    import cv2

    moved: Any = cv2.resize(np.ascontiguousarray(control, np.float32), (CELLS, CELLS), interpolation=cv2.INTER_LINEAR)
    return moved.transpose(2, 0, 1)


def in_cells(picture: Picture) -> NDArray[np.uint8]:
    """(256, 256, 3) -> (48, 64, 64): channel 12 y + 3 x + colour of the cell's pixel (y, x). Sides may be other multiples of 4."""
    height, width = picture.shape[0] // CELL, picture.shape[1] // CELL
    cells = picture.reshape(height, CELL, width, CELL, 3).transpose(1, 3, 4, 0, 2)
    return np.ascontiguousarray(cells).reshape(COLOURS, height, width)


def _inside(triangles: NDArray[np.int32], opening: tuple[tuple[int, ...], tuple[int, ...]]) -> NDArray[np.bool_]:
    return np.isin(triangles, opening[0] + opening[1]).all(1)


def _facing(corners: Floats) -> Floats:
    """(T, 3, 3) -> (T,): 1 where a triangle looks at the viewer, 0 edge-on, -1 away."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(normal[:, 2] / np.maximum(np.sqrt((normal * normal).sum(1)), 1e-6), np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _means(triangle, table, out):  # type: ignore[no-untyped-def]
    """Per cell, the mean of the table's rows of the triangles that its pixels show; no triangle is a row of zeros."""
    share = np.float32(1.0 / (CELL * CELL))
    for j in range(triangle.shape[0]):
        for i in range(triangle.shape[1]):
            t = triangle[j, i]
            if t >= 0:
                for k in range(table.shape[1]):
                    out[k, j // CELL, i // CELL] += share * table[t, k]

"""A z-buffer for the face mesh: which triangle each pixel shows, PNCC (section 4.1) and the geometric flow.

A pixel belongs to the nearest triangle that covers its centre, (i + 0.5, j + 0.5) for row j, column i. Triangles are
drawn from both sides. A triangle with a vertex that is not finite, or without area, is not drawn.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from codec.parameters import SIZE, Floats

Triangles = NDArray[np.int32]
"""(T, 3) int32: indices of the vertices."""

_TOLERANCE = 1e-6
"""Barycentric slack, so that rounding leaves no crack between two triangles."""


class Mesh(Protocol):
    """What PNCC needs of a face model: its mean shape and its triangles."""

    @property
    def mean(self) -> Any: ...

    @property
    def triangles(self) -> Any: ...


@dataclass(frozen=True)
class Visibility:
    """What each pixel of the 256x256 picture shows of a mesh.

    triangle: (256, 256) int16, index of the nearest triangle, -1 where there is none.
    barycentric: (256, 256, 2) float32, the weights of that triangle's first and second vertex at the pixel's centre
    (the third weight is what is missing to 1); 0 where there is none.
    """

    triangle: NDArray[np.int16]
    barycentric: Floats

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(256, 256) bool: where the mesh is seen."""
        return self.triangle >= 0


_scratch = threading.local()


def _depth() -> Floats:
    depth: Floats | None = getattr(_scratch, "depth", None)
    if depth is None:
        depth = _scratch.depth = np.empty((SIZE, SIZE), np.float32)
    return depth


def rasterise(vertices: Floats, triangles: Triangles) -> Visibility:
    """Draw a mesh.

    vertices: (V, 3), x and y in pixels, z depth (smaller is nearer). triangles: (T, 3), T < 32768.
    Raises ValueError where an index has no vertex or a shape is not as said.
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    triangles = np.ascontiguousarray(triangles, np.int32)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"expected (V, 3) vertices and (T, 3) triangles, got {vertices.shape} and {triangles.shape}")
    if len(triangles) > np.iinfo(np.int16).max:
        raise ValueError(f"{len(triangles)} triangles do not fit in int16")
    if triangles.size and (triangles.min() < 0 or triangles.max() >= len(vertices)):
        raise ValueError(f"a triangle names a vertex that is not among the {len(vertices)} given")
    triangle = np.empty((SIZE, SIZE), np.int16)
    barycentric = np.empty((SIZE, SIZE, 2), np.float32)
    _rasterise(vertices, triangles, triangle, barycentric, _depth())
    return Visibility(triangle, barycentric)


def pncc_colours(model: Mesh) -> Floats:
    """(T, 3) float32: each triangle's centre in the mean shape, x, y, z each normalised to 0..1 (section 4.1)."""
    mean = np.asarray(model.mean, np.float32).reshape(-1, 3)
    triangles = np.asarray(model.triangles)
    used = mean[np.unique(triangles)]
    low, high = used.min(0), used.max(0)
    centres = mean[triangles].mean(1)
    return np.asarray((centres - low) / (high - low), np.float32)


def pncc(visibility: Visibility, colours: Floats) -> Floats:
    """Projected normalised coordinate code: (256, 256, 3) float32, the visible triangle's colour, 0 where none is.

    colours: (T, 3), from ``pncc_colours``.
    """
    picture = np.empty((SIZE, SIZE, 3), np.float32)
    _pncc(visibility.triangle, np.ascontiguousarray(colours, np.float32), picture)
    return picture


def flow(visibility: Visibility, triangles: Triangles, source_xy: Floats) -> Floats:
    """For each pixel, where the same point of skin lies in another picture.

    source_xy: (V, 2) or (V, 3), the same vertices' place there, in pixels. Returns (256, 256, 2) float32, absolute
    x, y there; the pixel's own centre where no triangle is seen.
    """
    field = np.empty((SIZE, SIZE, 2), np.float32)
    _flow(
        visibility.triangle,
        visibility.barycentric,
        np.ascontiguousarray(triangles, np.int32),
        np.ascontiguousarray(source_xy[:, :2], np.float32),
        field,
    )
    return field


@numba.njit(cache=True, nogil=True)
def _rasterise(vertices, triangles, triangle, barycentric, depth):  # type: ignore[no-untyped-def]
    height, width = triangle.shape
    triangle[:] = -1
    barycentric[:] = 0.0
    depth[:] = np.inf
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = np.float64(vertices[a, 0]), np.float64(vertices[a, 1]), np.float64(vertices[a, 2])
        bx, by, bz = np.float64(vertices[b, 0]), np.float64(vertices[b, 1]), np.float64(vertices[b, 2])
        cx, cy, cz = np.float64(vertices[c, 0]), np.float64(vertices[c, 1]), np.float64(vertices[c, 2])
        if not np.isfinite(ax + ay + az + bx + by + bz + cx + cy + cz):
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left = max(0.0, np.ceil(min(ax, bx, cx) - 0.5))
        right = min(width - 1.0, np.floor(max(ax, bx, cx) - 0.5))
        top = max(0.0, np.ceil(min(ay, by, cy) - 0.5))
        bottom = min(height - 1.0, np.floor(max(ay, by, cy) - 0.5))
        if left > right or top > bottom:
            continue
        inverse = 1.0 / area
        ux, uy = (by - cy) * inverse, (cx - bx) * inverse
        vx, vy = (cy - ay) * inverse, (ax - cx) * inverse
        for j in range(int(top), int(bottom) + 1):
            py = j + 0.5 - cy
            for i in range(int(left), int(right) + 1):
                px = i + 0.5 - cx
                u = ux * px + uy * py
                v = vx * px + vy * py
                w = 1.0 - u - v
                if u >= -_TOLERANCE and v >= -_TOLERANCE and w >= -_TOLERANCE:
                    z = np.float32(u * az + v * bz + w * cz)
                    if z < depth[j, i]:
                        depth[j, i] = z
                        triangle[j, i] = t
                        barycentric[j, i, 0] = u
                        barycentric[j, i, 1] = v


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pncc(triangle, colours, picture):  # type: ignore[no-untyped-def]
    for j in range(triangle.shape[0]):
        for i in range(triangle.shape[1]):
            t = triangle[j, i]
            for k in range(3):
                picture[j, i, k] = colours[t, k] if t >= 0 else 0.0


@numba.njit(cache=True, nogil=True, fastmath=True)
def _flow(triangle, barycentric, triangles, source, field):  # type: ignore[no-untyped-def]
    for j in range(triangle.shape[0]):
        for i in range(triangle.shape[1]):
            t = triangle[j, i]
            if t < 0:
                field[j, i, 0] = i + np.float32(0.5)
                field[j, i, 1] = j + np.float32(0.5)
            else:
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                u, v = barycentric[j, i, 0], barycentric[j, i, 1]
                w = np.float32(1.0) - u - v
                field[j, i, 0] = u * source[a, 0] + v * source[b, 0] + w * source[c, 0]
                field[j, i, 1] = u * source[a, 1] + v * source[b, 1] + w * source[c, 1]

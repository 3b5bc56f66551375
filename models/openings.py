"""Mouth and eyes: what opens and closes, and must neither tear nor stretch.

The mesh has triangles across the mouth and the eyes; moved like skin they would pull teeth and irises out of shape.
Here what lies in an opening keeps its own size: teeth stay with the lips that they hang at, and where the photo's mouth is too
little open to show what is needed, it is dark; irises go where the driving fit says, and lids pass over them.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from codec.parameters import Floats, Picture
from codec.raster import Triangles, Visibility

# Chains of the FaceMesh topology from one corner to the other: upper, lower.
MOUTH = ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))
RIGHT_EYE = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133))
LEFT_EYE = ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362))
OPENINGS = (MOUTH, RIGHT_EYE, LEFT_EYE)
IRISES = (-1, 468, 473)
"""Centre of the iris in each opening; the four points after it lie on its rim."""

_CLOSED_PX = 1.5
"""Lids or lips nearer than this show nothing that could be moved."""


class Openings:
    """The triangles inside the lips and lids of a mesh, and what is done there."""

    def __init__(self, triangles: Triangles) -> None:
        self._triangles = np.ascontiguousarray(triangles, np.int32)
        self._kind = np.zeros(len(triangles), np.int8)
        for kind, (upper, lower) in enumerate(OPENINGS, start=1):
            self._kind[np.isin(triangles, upper + lower).all(1)] = kind
        self._upper = [np.array(upper) for upper, _ in OPENINGS]
        self._lower = [np.array(lower) for _, lower in OPENINGS]
        points = int(triangles.max()) + 1
        # Per vertex: place between upper (0) and lower (1) chain; gap in the source, x, y; length of the driving gap.
        self._attributes = np.zeros((points, 4), np.float32)
        for upper, lower in OPENINGS:
            self._attributes[list(lower[1:-1]), 0] = 1
            self._attributes[[upper[0], upper[-1]], 0] = 0.5

    def dark(self, picture: Picture, vertices: Floats) -> Floats:
        """(3,) float32: the colour inside a photo's mouth, or a guess from its lips where that is brighter or hidden."""
        upper, lower = vertices[self._upper[0], :2], vertices[self._lower[0], :2]
        inside = upper[1:-1, None] + (lower - upper)[1:-1, None] * np.linspace(0.2, 0.8, 9, dtype=np.float32)[:, None]
        colours = _pick(picture, inside.reshape(-1, 2))
        lips = _pick(picture, np.concatenate((vertices[[37, 0, 267, 84, 17, 314], :2], upper, lower))).mean(0)
        darkest = colours[np.argsort(colours.sum(1))[: len(colours) // 5]].mean(0)
        guess = lips * np.array((0.36, 0.27, 0.27), np.float32)
        return np.asarray(np.minimum(darkest, guess), np.float32)

    def move(self, field: Floats, visibility: Visibility, driving: Floats, source: Floats) -> Floats:
        """Correct the flow inside the openings, in place.

        field: (256, 256, 2), absolute. driving, source: (478, 3), posed meshes.
        Returns (N, 3) float32: row, column of the pixels to darken in the mouth, and how much, 0..1.
        """
        for upper, lower in zip(self._upper, self._lower, strict=True):
            gap = source[lower, :2] - source[upper, :2]
            length = np.hypot(*(driving[lower, :2] - driving[upper, :2]).T)
            for chain in (upper, lower):
                self._attributes[chain, 1:3] = gap
                self._attributes[chain, 3] = length
        dark: NDArray[np.float32] = np.empty((0, 3), np.float32)
        for kind, (upper, lower) in enumerate(zip(self._upper, self._lower, strict=True), start=1):
            ring = np.concatenate((upper, lower))
            corners = upper[[0, -1]]
            there = source[corners[1], :2] - source[corners[0], :2]
            here = driving[corners[1], :2] - driving[corners[0], :2]
            size = max(float(here @ here), 1e-6)
            # Similarity from the driving corners to the source's: (c, -s; s, c).
            turn = np.array(((there @ here) / size, (there[1] * here[0] - there[0] * here[1]) / size), np.float32)
            box = _box(driving[ring, :2])
            arguments = (field, visibility.triangle, visibility.barycentric, self._triangles, self._kind, kind)
            if kind == 1:
                dark = _mouth(*arguments, self._attributes, float(np.hypot(turn[0], turn[1])), box)
            else:
                iris = IRISES[kind - 1]
                rim = driving[iris + 1 : iris + 5, :2] - driving[iris, :2]
                radius = float(np.hypot(rim[:, 0], rim[:, 1]).mean())
                _iris(*arguments, self._attributes, driving[iris, :2], source[iris, :2], turn, radius, box)
        return dark


def darken(picture: Picture, pixels: Floats, colour: Floats) -> None:
    """Mix ``colour`` into the pixels that ``Openings.move`` named, in place."""
    if len(pixels):
        rows, columns, share = pixels[:, 0].astype(np.intp), pixels[:, 1].astype(np.intp), pixels[:, 2:]
        seen = picture[rows, columns].astype(np.float32)
        picture[rows, columns] = (seen + share * (np.minimum(seen, colour) - seen) + 0.5).astype(np.uint8)


def _pick(picture: Picture, points: Floats) -> Floats:
    x = np.clip(np.nan_to_num(points[:, 0]), 0, picture.shape[1] - 1).astype(np.intp)
    y = np.clip(np.nan_to_num(points[:, 1]), 0, picture.shape[0] - 1).astype(np.intp)
    return picture[y, x].astype(np.float32)


def _box(points: Floats) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that some points may cover, inside the picture."""
    low = np.clip(np.nan_to_num(points.min(0)), 0, 255).astype(int)
    high = np.clip(np.nan_to_num(points.max(0)) + 1, 0, 255).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


@numba.njit(cache=True, nogil=True)
def _mouth(field, triangle, barycentric, triangles, kinds, kind, attributes, scale, box):  # type: ignore[no-untyped-def]
    dark = np.empty(((box[2] - box[0] + 1) * (box[3] - box[1] + 1), 3), np.float32)
    count = 0
    for j in range(box[1], box[3] + 1):
        for i in range(box[0], box[2] + 1):
            t = triangle[j, i]
            if t < 0 or kinds[t] != kind:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            p, q = barycentric[j, i, 0], barycentric[j, i, 1]
            r = 1 - p - q
            v = p * attributes[a, 0] + q * attributes[b, 0] + r * attributes[c, 0]
            gx = p * attributes[a, 1] + q * attributes[b, 1] + r * attributes[c, 1]
            gy = p * attributes[a, 2] + q * attributes[b, 2] + r * attributes[c, 2]
            needed = scale * (p * attributes[a, 3] + q * attributes[b, 3] + r * attributes[c, 3])
            there = np.sqrt(gx * gx + gy * gy)
            # Each half of the opening keeps to its lip at the photo's own size, as far as the photo shows it.
            edge = min(v, 1 - v) * needed
            half = 0.5 * there
            if needed > there:
                f = min(edge / max(there, 1e-3), 0.5)
                if v > 0.5:
                    f = 1 - f
                field[j, i, 0] += (f - v) * gx
                field[j, i, 1] += (f - v) * gy
                missing = (edge - half - 0.25) / 2.5
                if missing > 0:
                    missing = min(1.0, missing)
                    # A mouth wide open in the photo already shows what is inside it.
                    share = missing * missing * (3 - 2 * missing) * (1 - min(1.0, max(0.0, (there - 6) / 8)))
                    dark[count, 0] = j
                    dark[count, 1] = i
                    dark[count, 2] = share
                    count += 1
    return dark[:count].copy()


@numba.njit(cache=True, nogil=True)
def _iris(  # type: ignore[no-untyped-def]
    field, triangle, barycentric, triangles, kinds, kind, attributes, driving, source, turn, radius, box
):
    for j in range(box[1], box[3] + 1):
        for i in range(box[0], box[2] + 1):
            t = triangle[j, i]
            if t < 0 or kinds[t] != kind:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            p, q = barycentric[j, i, 0], barycentric[j, i, 1]
            r = 1 - p - q
            v = p * attributes[a, 0] + q * attributes[b, 0] + r * attributes[c, 0]
            gx = p * attributes[a, 1] + q * attributes[b, 1] + r * attributes[c, 1]
            gy = p * attributes[a, 2] + q * attributes[b, 2] + r * attributes[c, 2]
            square = gx * gx + gy * gy
            if square < _CLOSED_PX * _CLOSED_PX:
                continue
            dx, dy = i + 0.5 - driving[0], j + 0.5 - driving[1]
            away = (np.sqrt(dx * dx + dy * dy) / max(radius, 1e-3) - 1.1) / 1.1
            if away >= 1:
                continue
            away = max(away, 0.0)
            share = 1 - away * away * (3 - 2 * away)
            mx = (source[0] + turn[0] * dx - turn[1] * dy - field[j, i, 0]) * share
            my = (source[1] + turn[1] * dx + turn[0] * dy - field[j, i, 1]) * share
            # Between the photo's lids: what they cover there is not known.
            moved = v + (mx * gx + my * gy) / square
            kept = min(max(moved, 0.1), 0.9) if 0.1 < v < 0.9 else v
            field[j, i, 0] += mx + (kept - moved) * gx
            field[j, i, 1] += my + (kept - moved) * gy

"""The geometric flow continued outside the face: what moves with the head, what stays with the window.

Next to the mesh's rim the mesh's own displacement goes on (push-pull: averages over ever larger squares, weighted by
what is known in them). Further away it becomes the head's rigid motion, of which hair, neck and body follow the share that
``falloff`` says; the rest is the window's own motion. All of it at 64x64: it is smooth.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from codec.parameters import SIZE, Floats, Window
from models.falloff import SPACING

CELLS = 64
CELL = SIZE // CELLS

# The face's outline in the FaceMesh topology, clockwise from the middle of the forehead.
RIM = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# Of the outline what the jaw does not move: from cheek to cheek over the forehead.
_STABLE = np.array(RIM[30:] + RIM[:9] + (168, 6, 133, 362, 33, 263), np.int64)


ATTACH = 0.03
"""Over which the mesh's own displacement goes on untouched, face heights."""


def rigid(driving: Floats, source: Floats) -> Floats:
    """How the head's outline goes from the driving mesh to the source's, both (V, 3), posed. (2, 4) float32.

    A head is nearly round: turned or nodding, its outline keeps its shape and follows the head's centre, behind the
    face. So of the rigid motion in space (Kabsch, over what the jaw does not move) remain: the similarity of scale,
    roll and shift, columns 0..2, and the shift that is added for each face width that a point lies further back, column 3.
    """
    a, b = driving[_STABLE, :3].astype(np.float64), source[_STABLE, :3].astype(np.float64)
    middle_a, middle_b = a.mean(0), b.mean(0)
    a -= middle_a
    b -= middle_b
    u, s, vt = np.linalg.svd(b.T @ a)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    scale = s.sum() / max((a * a).sum(), 1e-6)
    across, down = driving[454] - driving[234], driving[152] - driving[10]
    normal = np.cross(across.astype(np.float64), down.astype(np.float64))
    # Towards the back of the head: away from the viewer for a face that looks at the viewer.
    back = normal / max(float(np.linalg.norm(normal)), 1e-6) * float(np.linalg.norm(across))
    roll = np.arctan2(rotation[1, 0] - rotation[0, 1], rotation[0, 0] + rotation[1, 1])
    c, n = scale * np.cos(roll), scale * np.sin(roll)
    linear = np.array(((c, -n), (n, c)))
    shift = middle_b[:2] - linear @ middle_a[:2]
    deeper = scale * (rotation @ back)[:2] - linear @ back[:2]
    return np.asarray(np.concatenate((linear, shift[:, None], deeper[:, None]), 1), np.float32)


def between_windows(driving: Window, source: Window) -> tuple[float, float, float]:
    """(a, bx, by): a still point at p in the driving window lies at a p + (bx, by) in the source's."""
    a = driving.zoom / source.zoom
    return a, (driving.x - source.x) / source.zoom, (driving.y - source.y) / source.zoom


def extend(
    face: Floats,
    mask: Any,
    head: Floats,
    window: tuple[float, float, float],
    frame: tuple[float, ...],
    table: Floats,
    attach: float,
) -> Floats:
    """Displacement over the whole picture.

    face: (256, 256, 2), the flow inside the mesh, absolute. mask: (256, 256) int16, >= 0 where the mesh is.
    head: (2, 4), ``rigid``. window: ``between_windows``. frame: the driving face's place: centre x, y, unit vector
    downwards x, y, height, pixels. table: ``falloff.SHARES``. attach: ``ATTACH``.
    Returns (64, 64, 3) float32: displacement x, y at the cells' centres, and how much of each cell the mesh covers.
    """
    known = np.zeros((CELLS, CELLS, 3), np.float32)
    still = np.array(window, np.float32)
    _gather(face, mask, still, known)
    near = _push_pull(known)
    distance = _distance(known[..., 2])
    out = np.empty((CELLS, CELLS, 3), np.float32)
    _mix(near, known, distance, head, still, np.array(frame, np.float32), table, attach, out)
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def _gather(face, mask, window, known):  # type: ignore[no-untyped-def]
    """What the mesh's displacement has beyond the window's, averaged over each cell."""
    for j in range(CELLS):
        for i in range(CELLS):
            x = np.float32(0.0)
            y = np.float32(0.0)
            n = np.float32(0.0)
            for b in range(j * CELL, j * CELL + CELL):
                for a in range(i * CELL, i * CELL + CELL):
                    if mask[b, a] >= 0:
                        px, py = a + np.float32(0.5), b + np.float32(0.5)
                        x += face[b, a, 0] - window[0] * px - window[1]
                        y += face[b, a, 1] - window[0] * py - window[2]
                        n += np.float32(1.0)
            if n > 0:
                known[j, i, 0] = x / n
                known[j, i, 1] = y / n
                known[j, i, 2] = n / np.float32(CELL * CELL)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _push_pull(known):  # type: ignore[no-untyped-def]
    """Fill what is not known: averages over 2x2 of the level below, then back down, bilinear."""
    levels = [known]
    size = CELLS
    while size > 1:
        below = levels[-1]
        size //= 2
        level = np.zeros((size, size, 3), np.float32)
        for j in range(size):
            for i in range(size):
                w = np.float32(0.0)
                x = np.float32(0.0)
                y = np.float32(0.0)
                for b in range(2):
                    for a in range(2):
                        v = below[2 * j + b, 2 * i + a, 2]
                        x += v * below[2 * j + b, 2 * i + a, 0]
                        y += v * below[2 * j + b, 2 * i + a, 1]
                        w += v
                if w > 0:
                    level[j, i, 0] = x / w
                    level[j, i, 1] = y / w
                    level[j, i, 2] = min(np.float32(1.0), w)
        levels.append(level)
    filled = levels[-1].copy()
    for n in range(len(levels) - 2, -1, -1):
        level = levels[n]
        size = level.shape[0]
        half = filled.shape[0]
        finer = np.empty((size, size, 3), np.float32)
        for j in range(size):
            fy = (j + 0.5) * 0.5 - 0.5
            j0 = int(np.floor(fy))
            v = np.float32(fy - j0)
            j1 = min(j0 + 1, half - 1)
            j0 = max(j0, 0)
            for i in range(size):
                fx = (i + 0.5) * 0.5 - 0.5
                i0 = int(np.floor(fx))
                u = np.float32(fx - i0)
                i1 = min(i0 + 1, half - 1)
                i0 = max(i0, 0)
                w = level[j, i, 2]
                for k in range(2):
                    up = (1 - v) * ((1 - u) * filled[j0, i0, k] + u * filled[j0, i1, k]) + v * (
                        (1 - u) * filled[j1, i0, k] + u * filled[j1, i1, k]
                    )
                    finer[j, i, k] = w * level[j, i, k] + (1 - w) * up
                finer[j, i, 2] = 1.0
        filled = finer
    return filled


@numba.njit(cache=True, nogil=True, fastmath=True)
def _distance(cover):  # type: ignore[no-untyped-def]
    """Chamfer distance from the mesh, in pixels."""
    straight, diagonal = np.float32(CELL), np.float32(CELL * 1.4142)
    d = np.full((CELLS, CELLS), 1e6, np.float32)
    for j in range(CELLS):
        for i in range(CELLS):
            if cover[j, i] >= 0.5:
                d[j, i] = 0.0
                continue
            if i > 0:
                d[j, i] = min(d[j, i], d[j, i - 1] + straight)
            if j > 0:
                d[j, i] = min(d[j, i], d[j - 1, i] + straight)
                if i > 0:
                    d[j, i] = min(d[j, i], d[j - 1, i - 1] + diagonal)
                if i < CELLS - 1:
                    d[j, i] = min(d[j, i], d[j - 1, i + 1] + diagonal)
    for j in range(CELLS - 1, -1, -1):
        for i in range(CELLS - 1, -1, -1):
            if i < CELLS - 1:
                d[j, i] = min(d[j, i], d[j, i + 1] + straight)
            if j < CELLS - 1:
                d[j, i] = min(d[j, i], d[j + 1, i] + straight)
                if i > 0:
                    d[j, i] = min(d[j, i], d[j + 1, i - 1] + diagonal)
                if i < CELLS - 1:
                    d[j, i] = min(d[j, i], d[j + 1, i + 1] + diagonal)
    return d


@numba.njit(cache=True, nogil=True, fastmath=True)
def _mix(near, known, distance, head, window, frame, table, attach, out):  # type: ignore[no-untyped-def]
    cx, cy, down_x, down_y, height = frame[0], frame[1], frame[2], frame[3], max(frame[4], np.float32(1.0))
    rows, columns = table.shape[0], table.shape[1]
    tx = (head[0, 0] - window[0]) * cx + head[0, 1] * cy + head[0, 2] - window[1]
    ty = head[1, 0] * cx + (head[1, 1] - window[0]) * cy + head[1, 2] - window[2]
    share = np.empty(4, np.float32)
    for j in range(CELLS):
        y = np.float32((j + 0.5) * CELL)
        for i in range(CELLS):
            x = np.float32((i + 0.5) * CELL)
            wx = window[0] * x + window[1] - x
            wy = window[0] * y + window[2] - y
            rx, ry = x - cx, y - cy
            u = abs(rx * down_y - ry * down_x) / (height * SPACING) - 0.5
            v = (rx * down_x + ry * down_y) / (height * SPACING) + 0.5 * rows - 0.5
            u = min(max(u, 0.0), columns - 1.001)
            v = min(max(v, 0.0), rows - 1.001)
            a, b = int(u), int(v)
            u -= a
            v -= b
            for k in range(4):
                share[k] = (1 - v) * ((1 - u) * table[b, a, k] + u * table[b, a + 1, k]) + v * (
                    (1 - u) * table[b + 1, a, k] + u * table[b + 1, a + 1, k]
                )
            hx = head[0, 0] * x + head[0, 1] * y + head[0, 2] - x
            hy = head[1, 0] * x + head[1, 1] * y + head[1, 2] - y
            ox = wx + share[0] * tx + share[1] * (hx - wx - tx) + share[2] * head[0, 3]
            oy = wy + share[0] * ty + share[1] * (hy - wy - ty) + share[2] * head[1, 3]
            ox += share[3] * (wx + near[j, i, 0] - hx)
            oy += share[3] * (wy + near[j, i, 1] - hy)
            keep = np.exp(-((distance[j, i] / (height * attach)) ** 2))
            out[j, i, 0] = ox + keep * (wx + near[j, i, 0] - ox)
            out[j, i, 1] = oy + keep * (wy + near[j, i, 1] - oy)
            out[j, i, 2] = known[j, i, 2]

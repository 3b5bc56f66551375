"""The triangles of the FaceMesh topology and its mirror map.

MediaPipe ships the mesh as a set of edges without order: the triangles are its 3-cliques less those whose every edge
already has two other triangles (three-cycles that enclose others), the eyes and the mouth are closed by strips, which
makes the 898 triangles of the canonical face, and the winding is carried over from neighbour to neighbour.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.face_model import INNER_LIPS, LEFT_EYELIDS, RIGHT_EYELIDS, SKIN, Indices

Array = NDArray[np.float64]
Points = NDArray[Any]

Triangle = tuple[int, int, int]


def _edges(triangle: Triangle) -> list[tuple[int, int]]:
    a, b, c = triangle
    return [(a, b), (b, c), (c, a)]


def _key(edge: tuple[int, int]) -> tuple[int, int]:
    return (min(edge), max(edge))


def _sorted(a: int, b: int, c: int) -> Triangle:
    low, middle, high = sorted((a, b, c))
    return (low, middle, high)


def _skin(edges: set[tuple[int, int]]) -> list[Triangle]:
    neighbours: dict[int, set[int]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    cliques = sorted({_sorted(a, b, c) for a, b in edges for c in neighbours[a] & neighbours[b]})
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for clique in cliques:
        for edge in _edges(clique):
            shared[_key(edge)] += 1
    return [clique for clique in cliques if any(shared[_key(e)] <= 2 for e in _edges(clique))]


def _strip(loop: Indices) -> list[Triangle]:
    """Close a loop whose first and middle points are the corners, by a strip between its two halves."""
    half = len(loop) // 2
    below = [int(i) for i in loop[: half + 1]]
    above = [int(i) for i in (loop[0], *loop[:half:-1], loop[half])]
    out: list[Triangle] = []
    for i in range(half):
        if i > 0:
            out.append((above[i], below[i], below[i + 1]))
        if i < half - 1:
            out.append((above[i], below[i + 1], above[i + 1]))
    return out


def triangles() -> Indices:
    """(898, 3) int32, wound alike: clockwise as seen (y down) in a frontal picture."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    faces = _skin({_key(edge) for edge in FACEMESH_TESSELATION})
    for loop in (RIGHT_EYELIDS, LEFT_EYELIDS, INNER_LIPS):
        faces += _strip(loop)
    beside: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, face in enumerate(faces):
        for edge in _edges(face):
            beside[_key(edge)].append(number)
    wound: dict[int, Triangle] = {0: faces[0]}
    queue = [0]
    while queue:
        current = queue.pop()
        for a, b in _edges(wound[current]):
            for other in beside[_key((a, b))]:
                if other not in wound:
                    face = faces[other]
                    wound[other] = face if (b, a) in _edges(face) else (face[0], face[2], face[1])
                    queue.append(other)
    return np.array([wound[number] for number in range(len(faces))], np.int32)


def facing(faces: Indices, mean: Points) -> Indices:
    """The triangles with the winding that most of them need to be clockwise as seen (y down) on ``mean``."""
    a, b, c = (mean[faces[:, i], :2] for i in range(3))
    area = np.cross(b - a, c - a)
    return faces if np.median(area) > 0 else np.ascontiguousarray(faces[:, [0, 2, 1]])


def level(mean: Array) -> Array:
    """(478, 3) -> the same shape about its centroid, eye line along x, forehead to chin in the plane of x and y."""
    across = mean[263] - mean[33]
    across = across / np.linalg.norm(across)
    down = mean[152] - mean[10]
    down = down - across * (down @ across)
    down = down / np.linalg.norm(down)
    turned: Array = (mean - mean.mean(axis=0)) @ np.stack((across, down, np.cross(across, down)), axis=1)
    return turned


def mirror_map(mean: Array) -> Indices:
    """(478,) int32: the point that each point becomes in a mirror: a mean face's cheapest pairing with its image.

    Raises ValueError if a pair lies a tenth of the eye-corner distance apart, which a mean of many faces never shows.
    """
    from scipy.optimize import linear_sum_assignment

    centred = level(mean)
    flipped = centred * (-1.0, 1.0, 1.0)
    pairs = np.empty(len(mean), np.int32)
    for part in (np.arange(SKIN), np.arange(SKIN, len(mean))):
        distance = np.linalg.norm(centred[part, None] - flipped[None, part], axis=2)
        pairs[part] = part[linear_sum_assignment(distance + distance.T)[1]]
    apart = np.linalg.norm(centred - flipped[pairs], axis=1).max()
    if apart > 0.1 * np.linalg.norm(mean[263] - mean[33]) or not np.array_equal(pairs[pairs], np.arange(len(mean))):
        raise ValueError("the mean face is too lopsided for a mirror map")
    return pairs

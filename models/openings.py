"""Mouth and eyes: what opens and closes, and must neither tear nor stretch."""

from __future__ import annotations

import numba
import numpy as np

from codec.parameters import Floats, Picture
from codec.raster import Triangles, Visibility

# Rings of the FaceMesh topology from one corner to the other: upper chain, lower chain.
MOUTH = ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))
RIGHT_EYE = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133))
LEFT_EYE = ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362))
IRISES = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477))


class Openings:
    """The triangles inside the lips and lids of a mesh, and what is done there."""

    def __init__(self, triangles: Triangles) -> None:
        self.kind = np.zeros(len(triangles), np.int8)
        for kind, (upper, lower) in enumerate((MOUTH, RIGHT_EYE, LEFT_EYE), start=1):
            self.kind[np.isin(triangles, upper + lower).all(1)] = kind
        self.triangles = np.ascontiguousarray(triangles, np.int32)

    def move(self, field: Floats, visibility: Visibility, driving: Floats, source: Floats) -> None:
        """Correct the flow inside the openings, in place."""

    def tone(self, picture: Picture, visibility: Visibility, driving: Floats, source: Floats) -> None:
        """Darken what the photo does not show: the inside of a mouth that is closed there. In place."""

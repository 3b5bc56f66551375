"""``warp``: no network. The photo, moved by the geometric flow."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from codec import raster
from codec.errors import HeadwireError
from codec.light import lit
from codec.motion import MotionField
from codec.motion_grid import CELL as MOTION_CELL
from codec.motion_grid import GRID, UNIT
from codec.parameters import SIZE, Camera, Floats, Picture, ReferenceFrame, Region
from models.fading import Fading
from models.falloff import SHARES
from models.generator import DrivingFrame, Generator
from models.layers import Layers
from models.openings import Openings, darken
from models.other_half import OtherHalf, Symmetry
from models.regions import Regions, Share, join
from models.surround import ATTACH, CELL, CELLS, between_windows, extend, rigid

logger = logging.getLogger(__name__)

ENLARGED = 2
"""A photo is enlarged once, so that the frame's remap can be linear: as sharp as a cubic one, six times as fast."""

DRAWN_IN = 0.04
"""How far, in face heights, skin that the photo sees edge-on is looked up further inside."""

FARTHEST = 1e5
"""A driving mesh that reaches further from the picture than this, in pixels, is nonsense: the photo's stands for it."""


class FaceMesh(Protocol):
    """What ``Warp`` needs of a face model."""

    @property
    def mean(self) -> Any: ...

    @property
    def triangles(self) -> Any: ...

    def shape(self, identity: Floats, expression: Floats) -> Floats: ...

    def project(self, vertices: Floats, camera: Camera) -> Floats: ...


@dataclass(frozen=True)
class Photo:
    """A photo in the memory. vertices: (478, 3), its own posed mesh, pixels, and normals: (478, 3), towards the viewer
    where z is negative. dark: (3,), the inside of its mouth, RGB. enlarged: (512, 512, 3), the picture (Lanczos). half: what it
    lacks of the face, where the other half has it.
    """

    reference: ReferenceFrame
    vertices: Floats
    normals: Floats
    dark: Floats
    enlarged: NDArray[np.uint8]
    half: OtherHalf | None = None


FACE_LIMIT = 5.0
"""Pixels that a motion field may move the inside of the face."""

CONTROL_AT = np.arange(GRID) * MOTION_CELL + MOTION_CELL // 2
"""Where the field's control points lie, pixels."""


class Warp(Generator):
    """Geometry first: one backward flow, one remap of the photo; mouth and eyes from pictures of their own where the sender says.

    ``photos`` holds what is remembered, by id. A frame is painted from the photo that its motion field names, else from the
    latest whole one. Where the sender says that the background stands still (``ReferenceFrame.still``), it does (``models.layers``).
    """

    name = "warp"

    def __init__(self, face_model: FaceMesh) -> None:
        self.face_model = face_model
        self.triangles = np.ascontiguousarray(face_model.triangles, np.int32)
        self.table, self.attach = SHARES, ATTACH
        self.pull = DRAWN_IN
        self.openings = Openings(self.triangles)
        self.regions = Regions(face_model.mean, self.triangles)
        self.symmetry = Symmetry(face_model.mean, self.triangles)
        self.photos: dict[int, Photo] = {}
        self._latest: Photo | None = None
        self._fading = Fading()
        self._layers: Layers | None = None
        self.still = False
        self._asked: tuple[Any, ...] = (None, None, None)
        self._found: Any = None

    def prepare(self, reference: ReferenceFrame) -> None:
        import cv2

        # A remap of this size is over before a second thread has begun, and the cores have other work.
        cv2.setNumThreads(1)
        parameters = reference.parameters
        shape = self.face_model.shape(reference.identity, parameters.expression)
        vertices = np.ascontiguousarray(self.face_model.project(shape, parameters.camera), np.float32)
        dark = self.openings.dark(reference.picture, vertices)
        side = ENLARGED * SIZE
        enlarged = cv2.resize(reference.picture, (side, side), interpolation=cv2.INTER_LANCZOS4)
        normals = _normals(vertices, self.triangles)
        half = self.symmetry.half(reference.picture, vertices, normals)
        photo = Photo(reference, vertices, normals, dark, np.asarray(enlarged, np.uint8), half)
        before = self.photos.pop(reference.photo_id, None)
        self.photos[reference.photo_id] = photo
        refitted = before is not None and before.reference.picture is reference.picture
        if reference.region is Region.WHOLE and (before is self._latest or not refitted):
            self._latest = photo
        if not refitted:
            self._stand(reference)

    def forget(self) -> None:
        """Empty the memory: another sender."""
        self.photos.clear()
        self._latest = None
        self._fading.reset()
        self.still = False
        if self._layers is not None:
            self._layers.clear()

    def flow(self, frame: DrivingFrame, photo_id: int | None = None) -> Floats:
        """(256, 256, 2) float32: where in a photo each pixel of the frame comes from, absolute x, y, pixels.

        photo_id: of a photo that is here; None: the one that the frame is painted from.
        """
        return self._flow(frame, self.source(frame) if photo_id is None else self.photos[photo_id])[0]

    def _flow(self, frame: DrivingFrame, photo: Photo) -> tuple[Floats, Floats, Floats]:
        """``flow``, the caller's own to change; the pixels in the mouth that the photo does not show (``Openings.move``); the frame's
        normals, as ``Photo`` has its own.

        A sender asks twice for each frame, to see and to say what moved: the last answer is kept.
        """
        asked = (frame.visibility, frame.vertices, photo)
        if any(a is not b for a, b in zip(asked, self._asked, strict=True)):
            self._asked, self._found = asked, self._drawn(frame, photo)
        face, dark, seen = self._found
        return face.copy(), dark, seen

    def _drawn(self, frame: DrivingFrame, photo: Photo) -> tuple[Floats, Floats, Floats]:
        visibility = frame.visibility
        vertices = np.ascontiguousarray(frame.vertices, np.float32)
        if not bool((np.abs(vertices) < FARTHEST).all()):
            vertices = photo.vertices
        seen = _normals(vertices, self.triangles)
        reach = float(self.pull * np.hypot(*(photo.vertices[152, :2] - photo.vertices[10, :2])))
        face = raster.flow(visibility, self.triangles, _drawn_in(photo.vertices, photo.normals, seen, reach))
        dark = self.openings.move(face, visibility, vertices, photo.vertices)
        coarse = extend(
            face,
            visibility.triangle,
            rigid(vertices, photo.vertices),
            between_windows(frame.parameters.window, photo.reference.parameters.window),
            _place(vertices),
            self.table,
            self.attach,
        )
        _join(face, visibility.triangle, coarse)
        return face, dark, seen

    @property
    def photo(self) -> Photo:
        """The latest whole photo. Raises RuntimeError before ``prepare``."""
        if self._latest is None:
            raise RuntimeError("prepare(reference) comes before the first frame")
        return self._latest

    def source(self, frame: DrivingFrame) -> Photo:
        """The photo that a frame is painted from."""
        return self.photo if frame.motion is None else self.photos.get(frame.motion.photo_id, self.photo)

    def generate(self, frame: DrivingFrame) -> Picture:
        def by(field: MotionField) -> Picture:
            of = replace(frame, motion=field)
            return self.shown(of, self.source(of))

        return self._fading.mix(frame.motion, self.shown(frame, self.source(frame)), by)

    def shown(self, frame: DrivingFrame, photo: Photo) -> Picture:
        """``painted``, in the frame's light, with layers where the background stands still."""
        picture = self.painted(frame, photo)
        if self.still:
            picture = self.layered(picture, frame, photo)
        return lit(picture, photo.reference.light)

    def layered(self, picture: Picture, frame: DrivingFrame, photo: Photo) -> Picture:
        """What was painted, before the still background, whether the sender has said so or not."""
        if self._layers is None:
            return picture
        source = self._moved(frame, photo)[0]
        window = frame.parameters.window
        return self._layers.apply(picture, source, photo.reference, frame.visibility.triangle, window)

    def compared(
        self, camera: Picture, picture: Picture, frame: DrivingFrame, photo: Photo
    ) -> tuple[Picture, float, Floats] | None:
        """For the sender: what was painted, layered, and ``Layers.beside``; None where nobody has been cut out."""
        if self._layers is None or not self._layers.has(photo.reference):
            return None
        source, window = self._moved(frame, photo)[0], frame.parameters.window
        layered = self._layers.apply(picture, source, photo.reference, frame.visibility.triangle, window)
        return layered, *self._layers.beside(camera, source, photo.reference, window)

    def keep_layers(self) -> bool:
        """Cut persons out from now on, before anybody says that the background stands still; whether that can be done here."""
        if self._layers is None:
            try:
                self._layers = Layers()
            except HeadwireError as error:
                logger.warning("the background is not kept still: %s", error)
                return False
            for photo in self.photos.values():
                if photo.reference.region is Region.WHOLE:
                    self._layers.add(photo.reference)
        return True

    def _stand(self, reference: ReferenceFrame) -> None:
        """Heed what a new picture says of the background."""
        if self.still and not reference.still and self._layers is not None:
            self._layers.clear()
        self.still = reference.still
        if self._layers is not None and reference.region is Region.WHOLE:
            self._layers.add(reference)
        elif self.still:
            self.still = self.keep_layers()

    def painted(self, frame: DrivingFrame, photo: Photo) -> Picture:
        """(256, 256, 3) uint8: a frame from a given photo, by geometry alone."""
        import cv2

        source, dark, seen = self._moved(frame, photo)
        source *= np.float32(ENLARGED)
        source -= np.float32(0.5)
        moved = cv2.remap(photo.enlarged, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture = np.asarray(moved, np.uint8)
        darken(picture, dark, photo.dark)
        if photo.half is not None:
            self.symmetry.fill(picture, photo.half, photo.enlarged, frame.visibility, frame.vertices, seen)
        if frame.motion is not None:
            for region, chosen in ((Region.MOUTH, frame.motion.mouth), (Region.EYES, frame.motion.eyes)):
                own = self.photos.get(chosen)
                share = None if own is None else self.regions.share(region, frame.visibility, frame.vertices)
                if own is not None and share is not None:
                    join(picture, self.part(frame, own, share), share)
        return picture

    def _moved(self, frame: DrivingFrame, photo: Photo) -> tuple[Floats, Floats, Floats]:
        """``_flow`` with the frame's motion field."""
        source, dark, seen = self._flow(frame, photo)
        if frame.motion is not None:
            held(frame.motion, frame.visibility.triangle).apply(source)
        return source, dark, seen

    def part(self, frame: DrivingFrame, photo: Photo, share: Share) -> NDArray[np.uint8]:
        """(h, w, 3): what a picture in the memory shows in the box of a region of the frame."""
        import cv2

        left, top, right, bottom = share.box
        vertices = np.ascontiguousarray(frame.vertices, np.float32)
        face = raster.flow(frame.visibility, self.triangles, photo.vertices)
        dark = self.openings.move(face, frame.visibility, vertices, photo.vertices)
        source = face[top:bottom, left:right] * np.float32(ENLARGED) - np.float32(0.5)
        moved = cv2.remap(photo.enlarged, source, np.empty(0), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture = np.asarray(moved, np.uint8)
        if len(dark):
            dark = dark[(dark[:, 0] >= top) & (dark[:, 0] < bottom) & (dark[:, 1] >= left) & (dark[:, 1] < right)]
            darken(picture, dark - np.array((top, left, 0), np.float32), photo.dark)
        return picture


def held(field: MotionField, triangle: NDArray[np.int16]) -> MotionField:
    """The field with the face's inside held: there the mesh knows better, and what looks like a large motion is a hand.

    triangle: (256, 256), as in ``Visibility``. Control points whose neighbours all lie on the mesh move at most FACE_LIMIT px.
    """
    on = triangle[CONTROL_AT, :][:, CONTROL_AT] >= 0
    inner = on.copy()
    inner[1:] &= on[:-1]
    inner[:-1] &= on[1:]
    inner[:, 1:] &= on[:, :-1]
    inner[:, :-1] &= on[:, 1:]
    length = np.hypot(field.control[..., 0], field.control[..., 1]) * (field.weight / UNIT)
    share = np.where(inner, np.minimum(1.0, FACE_LIMIT / np.maximum(length, 1e-6)), 1.0)
    if bool((share == 1.0).all()):
        return field
    return replace(field, control=np.rint(field.control * share[..., None]).astype(np.int32))


def _place(vertices: Floats) -> tuple[float, float, float, float, float]:
    """Centre x, y, unit vector from forehead to chin x, y, and height of a face, pixels."""
    top, chin = vertices[10, :2], vertices[152, :2]
    down = chin - top
    height = float(np.hypot(down[0], down[1])) + 1e-6
    centre = (top + chin) / 2
    return float(centre[0]), float(centre[1]), float(down[0]) / height, float(down[1]) / height, height


@numba.njit(cache=True, nogil=True, fastmath=True)
def _join(field, mask, coarse):  # type: ignore[no-untyped-def]
    """Outside the mesh the coarse displacement, inside the fine flow, and a soft passage inside the rim."""
    inverse = np.float32(1.0 / CELL)
    for j in range(SIZE):
        fy = (j + np.float32(0.5)) * inverse - np.float32(0.5)
        j0 = min(max(int(np.floor(fy)), 0), CELLS - 2)
        v = np.float32(fy - j0)
        j1 = j0 + 1
        for i in range(SIZE):
            fx = (i + np.float32(0.5)) * inverse - np.float32(0.5)
            i0 = min(max(int(np.floor(fx)), 0), CELLS - 2)
            u = np.float32(fx - i0)
            i1 = i0 + 1
            a, b, c, d = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
            inside = a * coarse[j0, i0, 2] + b * coarse[j0, i1, 2] + c * coarse[j1, i0, 2] + d * coarse[j1, i1, 2]
            if mask[j, i] >= 0 and inside > 0.999:
                continue
            x = a * coarse[j0, i0, 0] + b * coarse[j0, i1, 0] + c * coarse[j1, i0, 0] + d * coarse[j1, i1, 0]
            y = a * coarse[j0, i0, 1] + b * coarse[j0, i1, 1] + c * coarse[j1, i0, 1] + d * coarse[j1, i1, 1]
            x += i + np.float32(0.5)
            y += j + np.float32(0.5)
            if mask[j, i] >= 0:
                t = min(np.float32(1.0), max(np.float32(0.0), 2 * inside - 1))
                x += t * (field[j, i, 0] - x)
                y += t * (field[j, i, 1] - y)
            field[j, i, 0] = x
            field[j, i, 1] = y


@numba.njit(cache=True, nogil=True)
def _normals(vertices, triangles):  # type: ignore[no-untyped-def]
    """(V, 3) float32: unit normals, outwards for the face model's winding: z < 0 where the skin looks at the viewer."""
    normals = np.zeros((vertices.shape[0], 3), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = vy * uz - vz * uy, vz * ux - vx * uz, vx * uy - vy * ux
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for k in range(normals.shape[0]):
        length = np.sqrt(normals[k, 0] ** 2 + normals[k, 1] ** 2 + normals[k, 2] ** 2)
        if length > 0:
            normals[k] /= length
    return normals


@numba.njit(cache=True, nogil=True)
def _drawn_in(vertices, there, here, reach):  # type: ignore[no-untyped-def]
    """(V, 2) float32: a photo's vertices, drawn inwards where the photo sees the skin edge-on and the frame sees more of it.

    There the photo shows background beside the least error of the fit.
    """
    out = np.empty((vertices.shape[0], 2), np.float32)
    for k in range(vertices.shape[0]):
        out[k, 0], out[k, 1] = vertices[k, 0], vertices[k, 1]
        facing, now = -there[k, 2], -here[k, 2]
        flat = np.sqrt(there[k, 0] ** 2 + there[k, 1] ** 2)
        if now > facing and facing < 0.5 and flat > 0:
            pull = reach * min(1.0, 2 * (now - facing)) * min(1.0, (0.5 - facing) * 2)
            out[k, 0] -= pull * there[k, 0] / flat
            out[k, 1] -= pull * there[k, 1] / flat
    return out

"""MediaPipe FaceMesh (478 points with irises) and its face detectors, without what they drag along.

``import mediapipe`` loads its whole task library, jax and matplotlib among it: 1-2 s and 70 MB that a call has no use for.
Here only the graph runner is imported, under a package that is left empty.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError
from codec.parameters import Floats

log = logging.getLogger(__name__)

POINTS = 478
MESH = 468
"""The first 468 points are the face; the last ten are the irises."""
SEARCH_SIDE = 640
"""Pictures are reduced to this longest side before faces are searched in them."""
_NOISE = (b"W0000 ", b"I0000 ", b"INFO: Created TensorFlow", b"WARNING: All log messages before absl")
_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class FaceBox:
    """A face that was found: centre and side of the detector's box (brows to chin), pixels of the searched picture.

    confidence: 0..1.
    """

    x: float
    y: float
    side: float
    confidence: float


def _solutions() -> tuple[Any, Any]:
    """The classes FaceMesh and FaceDetection. Raises HeadwireError when mediapipe cannot be loaded."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "mediapipe" not in sys.modules:
        spec = importlib.util.find_spec("mediapipe")
        if spec is None or not spec.submodule_search_locations:
            raise HeadwireError("the package mediapipe is missing: run 'make setup'")
        root = Path(spec.submodule_search_locations[0])
        package = _package("mediapipe", root)
        # who writes mediapipe.solutions.face_mesh after this finds it, too
        package.__dict__["solutions"] = _package("mediapipe.python.solutions", root / "python" / "solutions")
    try:
        from mediapipe.python.solutions.face_detection import FaceDetection
        from mediapipe.python.solutions.face_mesh import FaceMesh
    except ImportError as error:
        raise HeadwireError(f"mediapipe cannot be loaded ({error}): run 'make setup'") from error
    return FaceMesh, FaceDetection


def _package(name: str, folder: Path) -> types.ModuleType:
    """A package whose modules can be imported and whose ``__init__`` never runs."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return package


@contextmanager
def _without_noise() -> Iterator[None]:
    """Hold back what native code writes to standard error, and pass on what is not MediaPipe's start-up chatter."""
    with _stderr_lock, tempfile.TemporaryFile() as held:
        try:
            kept = os.dup(2)
        except OSError:
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            held.seek(0)
            text = b"".join(line for line in held if not line.startswith(_NOISE))
            if text:
                os.write(kept, text)
            os.close(kept)


def _points(message: Any) -> Floats:
    """(478, 3) float32 of a NormalizedLandmarkList: its bytes are records of 17, read at once (ten times a loop's speed)."""
    data = message.SerializeToString()
    if len(data) == 17 * POINTS:
        records = np.frombuffer(data, np.uint8).reshape(POINTS, 17)
        if (records[:, [0, 1, 2, 7, 12]] == (0x0A, 0x0F, 0x0D, 0x15, 0x1D)).all():
            values = np.ascontiguousarray(records[:, [3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16]])
            return values.view("<f4").astype(np.float32)
    return np.array([(p.x, p.y, p.z) for p in message.landmark], np.float32)


class Landmarker:
    """The points of one face, tracked from picture to picture. Not thread safe; one per thread."""

    def __init__(self) -> None:
        """Raises HeadwireError when mediapipe cannot be loaded."""
        self._mesh_class, self._detection_class = _solutions()
        self._mesh: Any = None
        self._searches: list[Any] = []
        self._quiet = True

    def __enter__(self) -> Landmarker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the networks. Safe to call twice."""
        for graph in [self._mesh, *self._searches]:
            if graph is not None:
                graph.close()
        self._mesh, self._searches = None, []

    def reset(self) -> None:
        """Forget where the face was: for a picture that does not follow the last one."""
        if self._mesh is not None:
            self._mesh.close()
            self._mesh = None
        self._quiet = True

    def detect(self, picture: NDArray[np.uint8]) -> Floats | None:
        """(478, 3) float32: x, y in pixels of the picture (``codec.parameters``' convention), z on the same scale and
        away from the viewer, 0 near the head's centre; ``None`` without a face.

        picture: (H, W, 3) uint8 RGB, square, the face filling about half of it.
        """
        if not self._quiet:
            return self._detect(picture)
        with _without_noise():
            if self._mesh is None:
                self._mesh = self._mesh_class(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
            points = self._detect(picture)
        self._quiet = points is None
        return points

    def _detect(self, picture: NDArray[np.uint8]) -> Floats | None:
        found = self._mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
        if not found:
            return None
        height, width = picture.shape[:2]
        points = _points(found[0]) * np.array([width, height, width], np.float32)
        return points if bool(np.isfinite(points).all()) else None

    def find_faces(self, picture: NDArray[np.uint8]) -> list[FaceBox]:
        """All faces of a whole frame, largest first. picture: (H, W, 3) uint8 RGB of any size."""
        import cv2

        height, width = picture.shape[:2]
        scale = max(1.0, max(height, width) / SEARCH_SIDE)
        small = picture
        if scale > 1:
            size = (max(1, round(width / scale)), max(1, round(height / scale)))
            small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        with _without_noise():
            if not self._searches:
                # near faces (128 x 128), then far ones (192 x 192)
                self._searches = [self._detection_class(0.5, model) for model in (0, 1)]
            found = [search.process(np.ascontiguousarray(small)).detections or [] for search in self._searches]
        faces: list[FaceBox] = []
        for one in (detection for detections in found for detection in detections):
            box = one.location_data.relative_bounding_box
            x, y = (box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height
            side = max(box.width * width, box.height * height)
            if all(max(abs(x - f.x), abs(y - f.y)) > f.side / 2 for f in faces):
                faces.append(FaceBox(x, y, side, one.score[0] if one.score else 0.0))
        return sorted(faces, key=lambda face: -face.side)

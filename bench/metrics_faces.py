"""Whose face it is, by dlib's descriptor: ``csim_dlib``, a stand-in for ArcFace (``bench.canonical``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.parameters import Floats


class DlibFaces:
    """dlib's face descriptor."""

    def __init__(self, dlib: Any, folder: Path) -> None:
        self._dlib = dlib
        self._points = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._net = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    @staticmethod
    def load() -> DlibFaces | None:
        """None where it is not installed."""
        import importlib.util

        try:
            import dlib
        except ImportError:
            return None
        found = importlib.util.find_spec("face_recognition_models")
        if found is None or found.origin is None:
            return None
        return DlibFaces(dlib, Path(found.origin).with_name("models"))

    def descriptor(self, picture: Any, points: Floats) -> NDArray[np.float64]:
        """(128,) of the face at these landmarks, of a 256x256 picture."""
        low, high = points[:468, :2].min(0), points[:468, :2].max(0)
        box = self._dlib.rectangle(*(int(v) for v in (*low, *high)))
        picture = np.ascontiguousarray(picture)
        return np.array(self._net.compute_face_descriptor(picture, self._points(picture, box)), np.float64)


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of the angle between two descriptors."""
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))

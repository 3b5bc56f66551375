"""FID, FVD, CSIM and AU-H with the canonical networks, from files that the user gives: no package carries them.

``csim``: ArcFace as ONNX (or OpenVINO's XML), 1x3x112x112 RGB in -1..1 -> a descriptor. ``au_h``: a detector of
action units as ONNX, 1x3xHxW RGB in 0..1 (the face where ArcFace's picture has it, enlarged to H, W) -> a probability for each
unit, which is present from 0.5 on; AU-H is the share of the units in which original and shown picture differ. ``fid``: Inception as
TorchScript, (N, 3, H, W) uint8 RGB -> (N, 2048), called with ``return_features=True``. ``fvd``: I3D as TorchScript,
(1, 3, T, H, W) float RGB in 0..255 -> (1, 400), called with ``rescale=True, resize=True, return_features=True``. Without its
file a name is not measured.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Frames
from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats
from models.inference import core

NAMES = ("csim", "au_h", "fid", "fvd")
Weights = tuple[tuple[str, Path], ...]

_FACE = 112
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Eyes, tip of the nose, corners of the mouth in ArcFace's picture of 112x112 (Deng et al. 2019)."""
_POINTS = ((33, 133), (362, 263), (1,), (61,), (291,))
"""The same in FaceMesh's landmarks, each the mean of some."""
_SHORTEST_CLIP = 16


def parse(given: list[str]) -> Weights:
    """``csim=FILE`` -> name, path. Raises UsageError for an unknown name and a file that is not there."""
    out = []
    for text in given:
        name, _, path = text.partition("=")
        if name not in NAMES:
            raise UsageError(f"--weights {text}: write one of {', '.join(NAMES)}, then = and a file")
        if not Path(path).is_file():
            raise UsageError(f"--weights {text}: there is no such file")
        out.append((name, Path(path)))
    return tuple(out)


def versions(weights: Weights) -> list[list[str]]:
    """Name and sha256 of each file, for the reports."""
    return [[name, hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in weights]


class Canonical:
    """The networks of ``weights``, each loaded when it is first needed."""

    def __init__(self, weights: Weights = ()) -> None:
        self._paths = dict(weights)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._paths)

    def similarity(self, picture: Any, shown: Any, points: Floats) -> float:
        """CSIM: cosine of ArcFace's descriptors of the face at these landmarks in both pictures."""
        return float(self.face(picture, points) @ self.face(shown, points))

    def units_apart(self, picture: Any, shown: Any, points: Floats) -> float:
        """AU-H: share of the action units in which the faces at these landmarks differ, 0..1."""
        return float((self.units(picture, points) != self.units(shown, points)).mean())

    def face(self, picture: Any, points: Floats) -> NDArray[np.float64]:
        """ArcFace's descriptor of the face at these landmarks, of length 1."""
        face = _aligned(picture, points, (_FACE, _FACE)) * 2 - 1
        found = np.asarray(next(iter(self._network("csim")([face]).values())), np.float64).ravel()
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12))

    def units(self, picture: Any, points: Floats) -> NDArray[np.bool_]:
        """Which action units the face at these landmarks shows. Raises UsageError for a network without a fixed side."""
        network = self._network("au_h")
        try:
            height, width = (int(n) for n in network.inputs[0].shape[2:])
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{self._paths['au_h']}: au_h wants an input of a fixed 1x3xHxW") from error
        found = np.asarray(next(iter(network([_aligned(picture, points, (height, width))]).values())))
        return np.asarray(found.ravel() >= 0.5)

    def features(self, frames: Frames, clip: Frames) -> dict[str, NDArray[np.float64]]:
        """``fid``: a row for each of ``frames``; ``fvd``: one for the whole clip, where it is long enough."""
        import torch

        out = {}
        with torch.inference_mode():
            if "fid" in self._paths:
                x = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
                out["fid"] = self._script("fid")(x, return_features=True).double().numpy()
            if "fvd" in self._paths and len(clip) >= _SHORTEST_CLIP:
                x = torch.from_numpy(np.ascontiguousarray(clip.transpose(3, 0, 1, 2)[None])).float()
                out["fvd"] = self._script("fvd")(x, rescale=True, resize=True, return_features=True).double().numpy()
        return out

    def _network(self, name: str) -> Any:
        if name not in self._loaded:
            path = self._paths[name]
            what = {"csim": "ArcFace", "au_h": "a detector of action units"}[name]
            try:
                how = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
                self._loaded[name] = core().compile_model(core().read_model(str(path)), "CPU", how)
            except RuntimeError as error:
                raise UsageError(f"{path} cannot be read: {name} wants {what} as ONNX ({str(error)[:80]})") from error
        return self._loaded[name]

    def _script(self, name: str) -> Any:
        import torch

        if name not in self._loaded:
            path = self._paths[name]
            try:
                self._loaded[name] = torch.jit.load(str(path), map_location="cpu").eval()
            except RuntimeError as error:
                raise UsageError(f"{path} cannot be read: {name} wants TorchScript ({str(error)[:80]})") from error
        return self._loaded[name]

    @cached_property
    def _loaded(self) -> dict[str, Any]:
        return {}


def _aligned(picture: Any, points: Floats, side: tuple[int, int]) -> NDArray[np.float32]:
    """(1, 3, H, W) in 0..1: the face, turned and scaled to where ArcFace's picture has it."""
    import cv2

    places = np.stack([points[list(of), :2].mean(0) for of in _POINTS]).astype(np.float32)
    wanted = (_TEMPLATE * (side[1] / _FACE, side[0] / _FACE)).astype(np.float32)
    turn, _ = cv2.estimateAffinePartial2D(places, wanted, method=cv2.LMEDS)
    if turn is None:
        raise HeadwireError("the face of a frame cannot be aligned for csim and au_h")
    face = cv2.warpAffine(np.ascontiguousarray(picture), turn, side[::-1])
    return (face.astype(np.float32) / 255).transpose(2, 0, 1)[None]

"""What is measured of a coded clip, frame by frame: the paper's Appendix E and what a face's viewer looks at.

Names (a stand-in never carries the canonical one):
``l1`` 0..255, ``psnr`` dB, ``ssim``, ``ms_ssim``, ``lpips`` (Alex), ``lpips_mouth`` and ``lpips_eyes`` (the same of a
window around them), ``lpips_vgg`` and ``dists`` (of few frames: VGG16 takes long), ``nme`` (landmarks' mean distance over
that of the outer eye corners), ``ard`` (mean absolute difference of the three Euler angles, degrees), ``are`` (mean
absolute Euler angle of what is shown, degrees: of use for frontalised faces), ``aed_mesh`` (mean absolute difference of
the 28 expression numbers, standard deviations), ``au_mesh_hamming`` (share of the mesh's action units that differ:
``bench.action_units``), ``csim_dlib`` (cosine of dlib's 128 numbers), ``sharpness`` (Laplacian
energy over the original's), ``flicker`` (change since the frame before, over the original's), ``face_found`` (1 or 0:
whether a face is seen where the original shows one). ``fid_vgg``, of sets, is FID over VGG16's last activations in place
of Inception's. ``csim``, ``au_h``, ``fid``, ``fvd``: only with the user's weights (``bench.canonical``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import action_units, metrics
from bench.canonical import NAMES, Canonical, Weights
from bench.codecs import Frames
from bench.frechet import Features
from bench.metrics_dists import Dists
from bench.metrics_faces import DlibFaces, cosine
from codec.errors import HeadwireError
from codec.fitting import Fitter
from codec.parameters import Floats, FrameParameters

VERSION = 5
"""To be raised with every change of what a figure means."""

BETTER_LOW = (
    "l1",
    "lpips",
    "lpips_mouth",
    "lpips_eyes",
    "lpips_vgg",
    "dists",
    "nme",
    "ard",
    "aed_mesh",
    "au_mesh_hamming",
)
BETTER_HIGH = ("psnr", "ssim", "ms_ssim", "csim_dlib", "face_found")
NEUTRAL = ("are", "sharpness", "flicker")
METRICS = (
    *("lpips", "psnr", "ssim", "ms_ssim", "l1", "lpips_mouth", "lpips_eyes", "lpips_vgg", "dists"),
    *("nme", "ard", "are", "aed_mesh", "au_mesh_hamming", "csim_dlib", "sharpness", "flicker", "face_found"),
)

CANONICAL = ("csim", "au_h")
"""Of each frame too, with the user's networks."""

SETS = ("fid_vgg", "fid", "fvd")
"""Measured over all clips of a codec and rate, not frame by frame."""

_MOUTH, _MOUTH_WINDOW = (13, 14, 61, 291), (64, 64)
_EYES, _EYES_WINDOW = (33, 133, 263, 362), (48, 128)
_CORNERS = (33, 263)
FACES_EVERY = 5
"""Of the measured frames, one in so many is given to dlib, which takes longer than all the rest."""
VGG_EVERY, VGG_MOST = 8, 8
"""The same for VGG16, from the middle of so many on: the opening's key frame or photo would flatter."""
_BEST_DB = 100.0
"""What a frame without any error counts as."""


@dataclass(frozen=True)
class Windows:
    """Parts of pictures. corners: row and column by frame of the index. known: as ``Lpips.known`` gives it."""

    size: tuple[int, int]
    corners: dict[int, tuple[int, int]]
    known: list[Any]

    def cut(self, pictures: Frames) -> Frames:
        (height, width), places = self.size, self.corners.items()
        return np.stack([pictures[n, top : top + height, left : left + width] for n, (top, left) in places])


@dataclass(frozen=True)
class Deep:
    """VGG16 of one picture. units: as ``Lpips.units``. moments: as ``Dists.moments``, if it is here. pooled: (1, 512)."""

    units: list[Any]
    moments: list[Any]
    pooled: Features


@dataclass(frozen=True)
class Truth:
    """The original with what is known of it. index: the frames that are measured. landmarks, fits: of each, or None.

    faces: dlib's (128,) of every ``FACES_EVERY``th of them. deep: of those of ``vgg_frames``. alex: of all of them what
    ``Lpips.known`` says; mouth, eyes: the same of windows, with their corners by frame. changes: of every frame since the one
    before, as ``_change``; the first has none.
    """

    frames: Frames
    index: tuple[int, ...]
    landmarks: tuple[Floats | None, ...]
    fits: tuple[FrameParameters | None, ...]
    identity: Floats
    faces: dict[int, NDArray[np.float64]]
    deep: list[Deep]
    alex: list[Any]
    mouth: Windows
    eyes: Windows
    changes: tuple[float, ...]


class Meter:
    """Measures clips, with networks that are loaded once. Raises HeadwireError where torch or its weights are missing."""

    def __init__(self, weights: Weights = ()) -> None:
        # bfloat16 changes the LPIPS of whole frames by 0.0003 in a clip's mean at most, that of windows by three times as much
        self._lpips, self._vgg = (metrics.Lpips(net, half=True) for net in ("alex", "vgg"))
        self._lpips_window = metrics.Lpips("alex")
        self._dists: Dists | None = None
        self._faces = DlibFaces.load()
        self._canonical = Canonical(weights)
        self._lacks: dict[str, str] = {}
        try:
            self._dists = Dists(half=True)
        except HeadwireError as error:
            self._lacks["dists"] = str(error)

    @property
    def missing(self) -> dict[str, str]:
        """Figure -> why it is not measured here."""
        reasons = dict(self._lacks)
        if self._faces is None:
            reasons["csim_dlib"] = "dlib or face_recognition_models is not installed"
        for name in set(NAMES) - set(self._canonical.names):
            reasons[name] = f"needs the canonical weights, which no package carries: --weights {name}=FILE"
        return reasons

    def truth(self, frames: Frames, every: int) -> Truth:
        """Landmarks and fits of every so many frames."""
        index = tuple(range(0, len(frames), every))
        landmarks = _landmarks(frames, index)
        fitter = Fitter()
        for points in landmarks:
            if points is not None:
                fitter.fit(points)
        seen = {n: points for n, points in enumerate(landmarks) if points is not None}
        faces = {n: p for n, p in seen.items() if n % FACES_EVERY == 0} if self._faces else {}
        measured = frames[list(index)]
        return Truth(
            frames,
            index,
            landmarks,
            _fits(landmarks, fitter.identity),
            fitter.identity,
            {n: self._faces.descriptor(measured[n], points) for n, points in faces.items() if self._faces},
            [self._deep(measured[n]) for n in vgg_frames(len(index))],
            self._lpips.known(measured),
            self._windows(measured, seen, _MOUTH, _MOUTH_WINDOW),
            self._windows(measured, seen, _EYES, _EYES_WINDOW),
            tuple(_change(frames, n) if n else 0.0 for n in range(len(frames))),
        )

    def measure(self, truth: Truth, shown: Frames) -> dict[str, list[float]]:
        """name -> a figure for each of ``truth.index``; NaN where there is none."""
        return self.measure_all(truth, shown)[0]

    def measure_all(
        self, truth: Truth, shown: Frames
    ) -> tuple[dict[str, list[float]], dict[str, tuple[Features, Features]]]:
        """The figures, and of what is only measured over sets the features of both: ``fid_vgg``, ``fid``, ``fvd``."""
        index = list(truth.index)
        a, b = truth.frames[index], shown[index]
        ssim, ms_ssim = metrics.similarities(a, b)
        figures = {
            "lpips": self._lpips.from_known(truth.alex, b),
            "psnr": np.minimum(metrics.psnr(a, b), _BEST_DB),
            "ssim": ssim,
            "ms_ssim": ms_ssim,
            "l1": metrics.l1(a, b),
            "lpips_mouth": self._window(truth.mouth, b),
            "lpips_eyes": self._window(truth.eyes, b),
            "sharpness": np.array([_energy(y) / max(_energy(x), 1e-9) for x, y in zip(a, b, strict=True)]),
            "flicker": _flicker(truth.changes, shown, index),
        }
        deep, pooled = self._deep_figures(truth, b)
        figures |= deep
        features = {"fid_vgg": (np.concatenate([known.pooled for known in truth.deep]), pooled)}
        of_truth, of_shown = (self._canonical.features(x, y) for x, y in ((a, truth.frames), (b, shown)))
        features |= {name: (of_truth[name], of_shown[name]) for name in of_truth}
        figures |= _geometry(truth, shown)
        if self._faces is not None:
            figures["csim_dlib"] = np.full(len(index), np.nan)
            for n, wanted in truth.faces.items():
                # where the original shows the face: what is shown instead may be none
                figures["csim_dlib"][n] = cosine(wanted, self._faces.descriptor(b[n], _there(truth.landmarks[n])))
        figures |= self._canonical_frames(truth, a, b)
        return {name: [float(x) for x in figures[name]] for name in (*METRICS, *CANONICAL) if name in figures}, features

    def _canonical_frames(self, truth: Truth, a: Frames, b: Frames) -> dict[str, NDArray[np.float64]]:
        """``csim`` and ``au_h``, where there are networks, of every ``FACES_EVERY``th frame in which the original shows a face."""
        ways = {"csim": self._canonical.similarity, "au_h": self._canonical.units_apart}
        out = {name: np.full(len(a), np.nan) for name in CANONICAL if name in self._canonical.names}
        for n, points in enumerate(truth.landmarks):
            if points is not None and n % FACES_EVERY == 0:
                for name, figures in out.items():
                    figures[n] = ways[name](a[n], b[n], points)
        return out

    def _deep(self, picture: Any) -> Deep:
        embedded = self._vgg.embed(picture)
        moments = self._dists.moments(self._dists.embed(picture, embedded[0])) if self._dists else []
        return Deep(self._vgg.units(embedded), moments, _pooled(embedded))

    def _deep_figures(self, truth: Truth, shown: Frames) -> tuple[dict[str, NDArray[np.float64]], Features]:
        """``lpips_vgg`` and ``dists``; and what FID wants of the pictures."""
        names = ("lpips_vgg", "dists") if self._dists else ("lpips_vgg",)
        figures = {name: np.full(len(shown), np.nan) for name in names}
        pooled = []
        for n, known in zip(vgg_frames(len(shown)), truth.deep, strict=True):
            seen = self._deep(shown[n])
            pooled.append(seen.pooled)
            figures["lpips_vgg"][n] = self._vgg.distance(known.units, seen.units)[0]
            if self._dists:
                figures["dists"][n] = self._dists.distance(known.moments, seen.moments)[0]
        return figures, np.concatenate(pooled)

    def _windows(
        self, pictures: Frames, seen: dict[int, Floats], points: tuple[int, ...], size: tuple[int, int]
    ) -> Windows:
        windows = Windows(size, {n: _corner(landmarks, points, size) for n, landmarks in seen.items()}, [])
        return replace(windows, known=self._lpips_window.known(windows.cut(pictures))) if seen else windows

    def _window(self, truth: Windows, shown: Frames) -> NDArray[np.float64]:
        out = np.full(len(shown), np.nan)
        if truth.corners:
            out[list(truth.corners)] = self._lpips_window.from_known(truth.known, truth.cut(shown))
        return out


def vgg_frames(count: int) -> list[int]:
    """Which of so many measured frames VGG16 sees: at least one, at most ``VGG_MOST`` evenly over a long clip."""
    step = max(VGG_EVERY, -(-count // VGG_MOST))
    return list(range(step // 2, count, step)) or [count // 2]


def _pooled(activations: list[Any]) -> Features:
    """(N, 512): VGG16's last activations, means over the picture."""
    return np.asarray(activations[-1].float().mean((2, 3)).double().numpy())


def _landmarks(frames: Frames, index: tuple[int, ...]) -> tuple[Floats | None, ...]:
    from sender.landmarks import Landmarker

    with Landmarker() as landmarker:
        return tuple(landmarker.detect(np.ascontiguousarray(frames[n])) for n in index)


def _fits(landmarks: tuple[Floats | None, ...], identity: Floats) -> tuple[FrameParameters | None, ...]:
    fitter = Fitter(identity=identity)
    fits: list[FrameParameters | None] = []
    for points in landmarks:
        result = None if points is None else fitter.fit(points)
        fits.append(None if result is None or result.lost else result.parameters)
    return tuple(fits)


def _geometry(truth: Truth, shown: Frames) -> dict[str, NDArray[np.float64]]:
    landmarks = _landmarks(shown, truth.index)
    fits = _fits(landmarks, truth.identity)
    figures = {
        name: np.full(len(landmarks), np.nan)
        for name in ("nme", "ard", "are", "aed_mesh", "au_mesh_hamming", "face_found")
    }
    for n, (wanted, got) in enumerate(zip(truth.landmarks, landmarks, strict=True)):
        if wanted is None:
            continue
        figures["face_found"][n] = got is not None
        if got is None:
            continue
        span = float(np.linalg.norm(wanted[_CORNERS[0], :2] - wanted[_CORNERS[1], :2]))
        figures["nme"][n] = float(np.linalg.norm(wanted[:, :2] - got[:, :2], axis=1).mean()) / max(span, 1e-9)
        of_truth, of_shown = truth.fits[n], fits[n]
        if of_truth is not None and of_shown is not None:
            turned, turn = of_shown.camera.rotation, of_truth.camera.rotation
            figures["ard"][n] = np.degrees(np.abs(turned - turn)).mean()
            figures["are"][n] = np.degrees(np.abs(turned)).mean()
            figures["aed_mesh"][n] = np.abs(of_shown.expression - of_truth.expression).mean()
            figures["au_mesh_hamming"][n] = action_units.hamming(of_truth.expression, of_shown.expression)
    return figures


def _there(landmarks: Floats | None) -> Floats:
    if landmarks is None:
        raise HeadwireError("a face was asked for where none is")
    return landmarks


def _corner(landmarks: Floats, points: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the window's top left corner."""
    x, y = landmarks[list(points), :2].mean(0)
    top, left = (np.clip(at - side / 2, 0, 256 - side) for at, side in zip((y, x), size, strict=True))
    return round(float(top)), round(float(left))


def _energy(picture: Any) -> float:
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((cv2.Laplacian(grey, cv2.CV_32F) ** 2).mean())


def _change(frames: Frames, n: int) -> float:
    """Since the frame before: mean absolute difference, 0..255."""
    import cv2

    return float(cv2.norm(frames[n], frames[n - 1], cv2.NORM_L1)) / frames[n].size


def _flicker(changes: tuple[float, ...], shown: Frames, index: list[int]) -> NDArray[np.float64]:
    """Over all frames since the one measured before, so that nothing between two samples stays unseen."""
    out = np.full(len(index), np.nan)
    for k in range(1, len(index)):
        between = range(index[k - 1] + 1, index[k] + 1)
        original = sum(changes[n] for n in between)
        if original > 0.05 * len(between):
            out[k] = sum(_change(shown, n) for n in between) / original
    return out

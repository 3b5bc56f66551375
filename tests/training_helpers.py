"""A small store of made-up people, with real meshes and real AVIF photos, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codec.face_model import FaceModel
from codec.parameters import EXPRESSION, SIZE, Camera, Floats, Picture
from codec.raster import pncc, pncc_colours, rasterise
from training.dataset import Clip
from training.pairs_store import StoreSettings, fitted, write_clip


def made_up_clip(store: Path, name: str, seed: int, frames: int = 8, split: str = "train", audio: bool = False) -> None:
    """A head that turns, painted with its own PNCC on a grey ground."""
    rng = np.random.default_rng(seed)
    model = FaceModel.load()
    neutral = model.neutral(0.3 * rng.standard_normal(model.identities))
    points, pictures = [], []
    for t in range(frames):
        expression = np.zeros(EXPRESSION, np.float32)
        expression[:4] = np.sin(np.arange(4) + t + seed)
        rotation = np.array((0.05 * t, 0.1 * np.sin(t + seed), 0.0), np.float32)
        camera = Camera(75.0, rotation, np.array((126.0 + t, 130.0, 0.0), np.float32))
        vertices = model.project(model.express(neutral, expression), camera)
        points.append(vertices)
        pictures.append(face_picture(model, vertices))
    arrays = fitted(np.stack(points))
    arrays["landmarks"] = np.stack(points).astype(np.float32)
    if audio:
        arrays["audio"] = rng.standard_normal((frames, 300)).astype(np.float32)
    clip = Clip(Path(f"{name}.mp4"), f"person{seed}", frames / 25, False, "train", "made up")
    write_clip(store / split / name, clip, split, StoreSettings(reference_every=4), pictures, arrays)


def face_picture(model: FaceModel, vertices: Floats) -> Picture:
    """(256, 256, 3): the PNCC of a mesh as a picture."""
    code = pncc(rasterise(vertices, model.triangles), pncc_colours(model))
    ground = np.full((SIZE, SIZE, 3), 0.4, np.float32)
    picture: Picture = (np.where(code.any(2, keepdims=True), code, ground) * 255).astype(np.uint8)
    return picture

"""Drawing a fit: the panels show what the parameters say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from codec.errors import UsageError
from codec.face_model import FaceModel, project
from codec.fitting import Fitter
from codec.parameters import EXPRESSION, SIZE, Camera, FrameParameters
from sender.draw import HEIGHT, PANEL, WIDTH, FitDrawer, draw_fits
from tests.videos import clip_frames
from training.dataset import frames


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load()


def parameters(yaw: float = 0.0, first: float = 0.0, confidence: float = 1.0) -> FrameParameters:
    expression = np.zeros(EXPRESSION, np.float32)
    expression[0] = first
    camera = Camera(70.0, np.array([0.0, yaw, 0.0], np.float32), np.array([128.0, 128.0, 0.0], np.float32))
    return FrameParameters(expression, camera, confidence=confidence)


def drawn(model: FaceModel, of: FrameParameters) -> np.ndarray:
    vertices = project(model.shape(np.zeros(model.identities), of.expression), of.camera)
    return FitDrawer(model).frame(np.full((SIZE, SIZE, 3), 128, np.uint8), of, vertices)


def test_mesh_and_pncc_are_drawn_where_the_face_is(model: FaceModel) -> None:
    frame = drawn(model, parameters())
    assert frame.shape == (HEIGHT, WIDTH, 3)
    changed = (frame[:, : 2 * PANEL] != 128).any(axis=2)
    assert changed[200:260, 200:260].any()
    assert changed[200:260, PANEL + 200 : PANEL + 260].all()
    assert not changed[:20, :20].any()


def test_bars_follow_the_numbers(model: FaceModel) -> None:
    right, left = drawn(model, parameters(first=3.0)), drawn(model, parameters(first=-3.0))
    row = slice(8, 16)
    middle = 2 * PANEL + 140
    assert (right[row, middle + 20] != right[0, -1]).any()
    assert (left[row, middle - 20] != left[0, -1]).any()
    assert (left[row, middle + 20] == left[0, -1]).all()


def test_a_lost_face_leaves_the_picture_alone(model: FaceModel) -> None:
    frame = drawn(model, parameters(confidence=0.0))
    assert (frame[:, : 2 * PANEL] == 128).all()


def test_a_film_of_a_fit_has_every_frame(model: FaceModel, tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for picture in clip_frames()[:6]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    fitter = Fitter(model, np.zeros(model.identities, np.float32))
    draw_fits(source, tmp_path / "out.mp4", "auto", model, fitter)
    drawn_frames = list(frames(tmp_path / "out.mp4"))
    assert len(drawn_frames) == 6
    assert drawn_frames[0].shape == (HEIGHT, WIDTH, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    with pytest.raises(UsageError, match="choose another place"):
        draw_fits(source, tmp_path / "none" / "out.mp4", "auto", model, fitter)

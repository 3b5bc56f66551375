"""Landmarks and tracking on a real face, moved, hidden and multiplied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from codec.errors import UsageError
from codec.parameters import SIZE, Window
from sender.crop import SIDE, Square, cut
from sender.landmarks import MESH, POINTS, Landmarker
from sender.tracking import PATIENCE, SEARCH_EVERY, FaceTracker
from tests.videos import Picture, clip_frames

EYE_CORNERS = (33, 263)
GREY = np.full((360, 640, 3), 90, np.uint8)


def canvas(*faces: tuple[int, int, float], size: tuple[int, int] = (1280, 720), frame: int = 0) -> Picture:
    """A grey picture with the clip's face pasted in; faces: left, top, scale of a 360x360 cutting."""
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    face = clip_frames()[frame][:, 265:625]
    for left, top, scale in faces:
        side = round(360 * scale)
        part = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        picture[top : top + side, left : left + side] = part[: size[1] - top, : size[0] - left]
    return picture


def test_points_lie_on_the_face() -> None:
    picture = cut(clip_frames()[0], Square(265, 0, 360))
    with Landmarker() as landmarker:
        points = landmarker.detect(picture)
        assert points is not None
        assert points.shape == (POINTS, 3)
        assert points.dtype == np.float32
        right_eye, left_eye, nose, chin = (points[i] for i in (33, 263, 1, 152))
        assert right_eye[0] < nose[0] < left_eye[0], "she faces the camera"
        assert max(right_eye[1], left_eye[1]) < nose[1] < chin[1]
        assert nose[2] < right_eye[2], "the tip of the nose is nearest"
        assert landmarker.detect(np.full((SIZE, SIZE, 3), 90, np.uint8)) is None


def test_points_are_those_of_the_public_reader() -> None:
    picture = cut(clip_frames()[0], Square(265, 0, 360))
    with Landmarker() as landmarker:
        landmarker.detect(picture)
        points = landmarker.detect(picture)
        found = landmarker._mesh.process(picture).multi_face_landmarks[0]
        slow = np.array([(p.x, p.y, p.z) for p in found.landmark], np.float32) * SIZE
    assert points is not None
    iod = float(np.linalg.norm(slow[EYE_CORNERS[0], :2] - slow[EYE_CORNERS[1], :2]))
    assert np.abs(points - slow).max() < 0.02 * iod


def test_faces_are_found_largest_first() -> None:
    with Landmarker() as landmarker:
        faces = landmarker.find_faces(canvas((40, 200, 0.6), (600, 20, 1.6)))
        assert len(faces) == 2
        assert faces[0].side > 1.5 * faces[1].side
        assert faces[0].x > 640 > faces[1].x
        assert landmarker.find_faces(GREY) == []


def test_loading_leaves_out_what_a_call_does_not_need() -> None:
    code = (
        "import sys, numpy as np; from sender.landmarks import Landmarker;"
        "l = Landmarker(); l.detect(np.zeros((256, 256, 3), np.uint8)); l.find_faces(np.zeros((64, 64, 3), np.uint8));"
        "print([m for m in ('jax', 'matplotlib', 'torch', 'sounddevice') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == "", "native chatter stays off standard error"


def test_tracks_the_clip_with_a_still_window() -> None:
    with FaceTracker() as tracker:
        tracked = [tracker.track(frame) for frame in clip_frames()]
    assert all(one.landmarks is not None for one in tracked)
    assert {one.window for one in tracked} == {Window()}
    assert tracked[0].picture.shape == (SIZE, SIZE, 3)
    first = tracked[0].landmarks
    assert first is not None
    mesh = first[:MESH, :2]
    assert 0.55 < np.ptp(mesh[:, 1]) / SIZE < 0.75
    assert abs(float(mesh[:, 0].mean()) / SIZE - 0.5) < 0.1


def test_window_undoes_the_crops_motion() -> None:
    """A face that walks through the frame: its points, put back through the window, walk at the same speed."""
    with FaceTracker() as tracker:
        tracked = [tracker.track(canvas((100 + 8 * k, 150, 1.0))) for k in range(60)]
    nose = []
    for one in tracked:
        assert one.landmarks is not None
        nose.append(one.landmarks[1, 0] * one.window.zoom + one.window.x)
    assert tracked[-1].window.x > 50, "the square followed"
    walked = (nose[-1] - nose[0]) * tracked[0].square.side / SIZE
    assert walked == pytest.approx(8 * 59, abs=6)


def test_largest_face_is_locked_on_to() -> None:
    with FaceTracker() as tracker:
        for k in range(30):
            # the other face grows past the one that was chosen
            one = tracker.track(canvas((0, 0, 1.0), (560, 0, 0.6 + 0.04 * k)))
    assert one.landmarks is not None
    assert one.square.left + one.square.side / 2 < 400


def test_a_face_that_leaves_is_held_and_found_again_elsewhere() -> None:
    with FaceTracker() as tracker:
        before = tracker.track(canvas((40, 180, 1.0)))
        away = [tracker.track(canvas()) for _ in range(2 * PATIENCE)]
        back = [tracker.track(canvas((860, 200, 1.0))) for _ in range(SEARCH_EVERY + 2)]
    assert before.landmarks is not None
    assert all(one.landmarks is None and one.window == before.window for one in away), "it stays"
    assert back[-1].landmarks is not None
    assert back[-1].window.x > 200
    assert back[-1].window.zoom == pytest.approx(1.0, abs=0.05)


def test_no_face_gives_the_middle_of_the_frame() -> None:
    with FaceTracker() as tracker:
        one = tracker.track(GREY)
    assert one.landmarks is None
    assert one.window == Window()
    assert one.square == Square(140, 0, 360)


def test_small_and_portrait_faces() -> None:
    for size, face in (((1920, 1080), (1200, 500, 0.45)), ((360, 640), (0, 200, 1.0))):
        with FaceTracker() as tracker:
            one = tracker.track(canvas(face, size=size))
        assert one.landmarks is not None
        height = float(np.ptp(one.landmarks[:MESH, 1]))
        assert SIZE / SIDE * 0.95 < height < SIZE * 0.75


def test_crop_none_takes_the_picture_as_it_is() -> None:
    picture = cut(clip_frames()[0], Square(265, 0, 360))
    with FaceTracker("none") as tracker:
        one = tracker.track(picture)
        assert (one.picture == picture).all()
        assert one.window == Window()
        assert one.landmarks is not None
        large = tracker.track(clip_frames()[0][:, 265:625])
        assert large.picture.shape == (SIZE, SIZE, 3)
        with pytest.raises(UsageError, match="--crop auto"):
            tracker.track(clip_frames()[0])
    with pytest.raises(UsageError, match="auto or none"):
        FaceTracker("face")

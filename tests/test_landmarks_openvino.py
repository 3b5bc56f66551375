"""The OpenVINO landmarks beside MediaPipe's, on a real face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codec.errors import HeadwireError
from sender.attention_mesh import mediapipe_folder, regions
from sender.crop import Square, cut
from sender.landmarks import Landmarker
from sender.landmarks_openvino import OpenVinoLandmarker
from tests.videos import Picture, clip_frames

GREY = np.full((256, 256, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def landmarker() -> OpenVinoLandmarker:
    return OpenVinoLandmarker()


def pictures() -> list[Picture]:
    return [cut(frame, Square(265, 0, 360)) for frame in clip_frames()]


def test_points_agree_with_mediapipe_while_both_track(landmarker: OpenVinoLandmarker) -> None:
    landmarker.reset()
    apart = []
    with Landmarker() as other:
        for picture in pictures():
            ours, theirs = landmarker.detect(picture), other.detect(picture)
            assert ours is not None
            assert theirs is not None
            apart.append(np.linalg.norm((ours - theirs)[:, :2], axis=1))
    assert apart[0].max() < 0.1
    assert np.mean(apart) < 0.3


def test_no_face_is_none_and_a_face_is_found_again(landmarker: OpenVinoLandmarker) -> None:
    landmarker.reset()
    picture = pictures()[0]
    assert landmarker.detect(GREY) is None
    assert landmarker.detect(picture) is not None
    assert landmarker.detect(GREY) is None
    again = landmarker.detect(picture)
    assert again is not None
    assert np.isfinite(again).all()


def test_a_tilted_head_is_levelled(landmarker: OpenVinoLandmarker) -> None:
    import cv2

    picture = pictures()[0]
    landmarker.reset()
    level = landmarker.detect(picture)
    turn = cv2.getRotationMatrix2D((128, 128), 35.0, 1.0)
    landmarker.reset()
    tilted = landmarker.detect(np.asarray(cv2.warpAffine(picture, turn, (256, 256)), np.uint8))
    assert level is not None
    assert tilted is not None
    expected = np.column_stack((level[:, :2], np.ones(len(level)))) @ turn.T
    assert np.linalg.norm(tilted[:, :2] - expected, axis=1).mean() < 3.0


def test_faces_are_found_in_a_whole_frame(landmarker: OpenVinoLandmarker) -> None:
    canvas = np.full((480, 640, 3), 90, np.uint8)
    canvas[100:356, 40:296] = canvas[100:356, 340:596] = pictures()[0]
    faces = landmarker.find_faces(canvas)
    assert len(faces) == 2
    assert abs(abs(faces[0].x - faces[1].x) - 300) < 12


def test_regions_of_the_network_are_read_from_the_file() -> None:
    path = mediapipe_folder() / "face_landmark" / "face_landmark_with_attention.tflite"
    lips, right, left = regions(path.read_bytes()).values()
    assert (lips.left, lips.right, len(lips.subset)) == (61, 291, 80)
    assert (right.left, left.right) == (33, 263)


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00TFL3", b"\xff" * 200])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(HeadwireError, match="expected"):
        regions(content)


def test_missing_networks_are_named(tmp_path: Path) -> None:
    with pytest.raises(HeadwireError, match=r"mediapipe==0\.10\.21"):
        OpenVinoLandmarker(tmp_path)

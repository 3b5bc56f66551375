"""The square: still while the head moves inside, smooth when it must move, and never off its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codec.parameters import SIZE, Window
from sender.crop import CENTRE_Y, SIDE, FaceCropper, FollowOptions, Square, cut

FRAME = (1280, 720)


def mesh(x: float, y: float, height: float) -> NDArray[np.float32]:
    """The corners of a mesh, as good as the mesh."""
    w, h = 0.4 * height, 0.5 * height
    return np.array([[x - w, y - h], [x + w, y - h], [x - w, y + h], [x + w, y + h]], np.float32)


def test_the_first_square_is_voxceleb_like() -> None:
    cropper = FaceCropper(FRAME)
    square = cropper.place(mesh(600, 360, 200))
    assert square.side == SIDE * 200
    assert square.left + square.side / 2 == pytest.approx(600, abs=1)
    assert (360 - square.top) / square.side == pytest.approx(CENTRE_Y, abs=0.005)


def test_a_large_face_takes_the_frame_rather_than_its_edge() -> None:
    cropper = FaceCropper((640, 360))
    assert cropper.place(mesh(320, 180, 230)) == Square(140, 0, 360)


def test_it_stands_still_while_the_head_moves_inside() -> None:
    cropper = FaceCropper(FRAME)
    first = cropper.place(mesh(600, 360, 200))
    cropper.anchor()
    for k in range(200):
        cropper.follow(mesh(600 + 40 * np.sin(k / 5), 360 + 15 * np.cos(k / 7), 200 + 20 * np.sin(k)))
    assert cropper.square == first
    assert cropper.window == Window()
    assert cropper.window.still


def test_it_follows_a_head_that_leaves_smoothly_and_rests() -> None:
    cropper = FaceCropper(FRAME)
    cropper.place(mesh(400, 360, 200))
    x, lefts = 400.0, []
    for k in range(300):
        x += 2.5 if k < 120 else 0.0
        lefts.append(cropper.follow(mesh(x, 360, 200)).left)
    steps = np.diff(lefts)
    options = FollowOptions()
    assert steps.max() <= options.speed * options.haste * cropper.square.side + 1
    assert np.abs(np.diff(steps)).max() <= options.acceleration * options.haste * cropper.square.side + 2, "no jerk"
    assert (steps >= 0).all(), "it does not swing"
    assert (steps[-100:] == 0).all(), "it rests"
    low = (mesh(x, 360, 200).min(0) - (lefts[-1], cropper.square.top)) / cropper.square.side
    assert (low > options.margin).all()


def test_it_never_loses_a_quick_head() -> None:
    cropper = FaceCropper(FRAME)
    cropper.place(mesh(300, 360, 150))
    for k in range(60):
        face = mesh(300 + 10 * k, 360, 150)
        assert cropper.square.left < face[:, 0].mean() < cropper.square.left + cropper.square.side
        cropper.follow(face)


def test_it_zooms_out_for_a_face_that_comes_near() -> None:
    cropper = FaceCropper(FRAME)
    first = cropper.place(mesh(600, 360, 150))
    cropper.anchor()
    sides = [cropper.follow(mesh(600, 360, min(150 + 2 * k, 260))).side for k in range(200)]
    assert max(np.abs(np.diff(sides)) / sides[1:]) < 0.02
    assert sides[-1] == pytest.approx(SIDE * 260, rel=0.02)
    assert cropper.window.zoom == pytest.approx(sides[-1] / first.side)


def test_window_maps_points_of_the_picture_to_the_first_one() -> None:
    first, second = Square(100, 50, 200), Square(120, 40, 220)
    window = second.window(first)
    point = np.array([[10.0, 200.0]], np.float32)
    frame = second.to_frame(point)
    in_first = (frame - (first.left, first.top)) * SIZE / first.side
    np.testing.assert_allclose(point * window.zoom + (window.x, window.y), in_first, atol=1e-4)


@pytest.mark.parametrize("side", [40, 200, 256, 301, 512, 700])
def test_cut_puts_every_point_where_the_coordinates_say(side: int) -> None:
    y, x = np.mgrid[:720, :1280].astype(np.float32)
    square = Square(333, 10, side)
    scale = 255 / side
    dither = np.random.default_rng(1).random((720, 1280, 1))
    across, down = (x + 0.5 - square.left) * scale, (y + 0.5 - square.top) * scale
    frame = np.stack([across, 255 - across, down], -1).clip(0, 255)
    picture = cut((frame + dither).astype(np.uint8), square).astype(np.float32)
    mirrored = cut((255 - frame + dither).astype(np.uint8), square).astype(np.float32)
    expected = (np.arange(SIZE) + 0.5) * (side / SIZE) * scale
    inner = slice(8, -8)
    # half of the difference: rounding up cancels
    position = (picture - mirrored + 255) / 2
    for line in (position[inner, inner, 0].mean(0), position[inner, inner, 2].mean(1)):
        error = line - expected[inner]
        assert np.abs(error).max() < 0.8
        assert abs(error.mean()) < 0.05, "not a fraction of a pixel aside"


def test_averaging_leaves_no_aliases() -> None:
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    for side in (512, 600, 720):
        assert cut(stripes, Square(100, 0, side)).std() < 35
    assert cut(stripes, Square(100, 0, 256)).std() > 100


def test_the_edge_is_continued_outside_the_frame() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[:, 0] = 90
    frame[0] = 200
    picture = cut(frame, Square(-64, -64, 128))
    assert picture.shape == (SIZE, SIZE, 3)
    assert (picture[:120, 140:] == 200).all()
    assert (picture[150:, :100] == 90).all()
    for far in (Square(500, 500, 64), Square(-500, -500, 64)):
        assert cut(frame, far).shape == (SIZE, SIZE, 3)

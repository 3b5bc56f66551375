"""The photo moved by geometry: on a drawn photo whose every pixel says where it came from."""

from dataclasses import replace

import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.parameters import SIZE, Camera, FrameParameters, ReferenceFrame, Window
from codec.raster import rasterise
from models.generator import DrivingFrame
from models.openings import IRISES, LEFT_EYE, MOUTH, RIGHT_EYE
from models.warp import Warp

MODEL = FaceModel.load()
IDENTITY = np.zeros(MODEL.identities, np.float32)
CENTRES = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1).astype(np.float32)
# Red says x, green says y.
MAP = np.concatenate((np.floor(CENTRES), np.full((SIZE, SIZE, 1), 90)), 2).astype(np.uint8)


def parameters(yaw=0.0, roll=0.0, x=128.0, y=130.0, scale=90.0, window=None):
    camera = Camera(scale, np.array((0.0, yaw, roll), np.float32), np.array((x, y, 0.0), np.float32))
    return FrameParameters(np.zeros(28, np.float32), camera, window or Window())


def mesh(of):
    return MODEL.project(MODEL.shape(IDENTITY, of.expression), of.camera)


def driving(of, vertices=None):
    vertices = mesh(of) if vertices is None else vertices.astype(np.float32)
    return DrivingFrame(of, vertices, rasterise(vertices, MODEL.triangles))


def ready(photo=MAP, of=None):
    generator = Warp(MODEL)
    generator.prepare(ReferenceFrame(0, photo, of or parameters(), IDENTITY))
    return generator


def opened(vertices, chains, pixels):
    """A mesh whose lips or lids are moved apart (or together) by ``pixels`` in the middle."""
    out = vertices.copy()
    upper, lower = (np.array(chain) for chain in chains)
    share = np.sin(np.linspace(0, np.pi, len(upper)))
    middle = (vertices[upper] + vertices[lower]) / 2
    gap = np.hypot(*(vertices[lower] - vertices[upper])[:, :2].T)
    down = np.array((0.0, 1.0, 0.0))
    wanted = np.maximum(gap + share * pixels, 0)[:, None] / 2
    out[upper], out[lower] = middle - wanted * down, middle + wanted * down
    return out


def test_the_photo_itself_comes_back():
    generator = ready()
    frame = driving(parameters())
    np.testing.assert_allclose(generator.flow(frame), CENTRES, atol=0.02)
    assert np.abs(generator.generate(frame).astype(int) - MAP).max() <= 1


def test_a_frame_before_any_photo_is_a_programming_error():
    with pytest.raises(RuntimeError, match="prepare"):
        Warp(MODEL).generate(driving(parameters()))


def test_the_face_goes_along_and_the_background_stays():
    flow = ready().flow(driving(parameters(x=140.0, y=126.0)))
    moved = flow - CENTRES
    nose = mesh(parameters(x=140.0, y=126.0))[4].astype(int)
    np.testing.assert_allclose(moved[nose[1], nose[0]], (-12, 4), atol=0.1)
    edge = np.concatenate((moved[:60, 0], moved[:60, -1]))
    assert np.hypot(*edge.T).max() < 0.5 * np.hypot(12, 4)
    hair = mesh(parameters(x=140.0, y=126.0))[10].astype(int) - (0, 12, 0)
    np.testing.assert_allclose(moved[hair[1], hair[0]], (-12, 4), atol=2)


def test_a_moved_window_moves_everything():
    window = Window(10.0, -6.0, 1.0)
    of = parameters(x=118.0, y=136.0, window=window)
    np.testing.assert_allclose(ready().flow(driving(of)), CENTRES + np.array((10, -6), np.float32), atol=0.05)
    zoomed = parameters(x=64.0, y=65.0, scale=45.0, window=Window(0.0, 0.0, 2.0))
    np.testing.assert_allclose(ready().flow(driving(zoomed)), CENTRES * 2, atol=0.1)


@pytest.mark.parametrize("yaw", [-0.8, 0.8])
@pytest.mark.parametrize("roll", [0.0, 0.5])
def test_no_tear_and_no_black_corner(yaw, roll):
    generator = ready()
    frame = driving(parameters(yaw, roll, 150.0, 150.0))
    flow = generator.flow(frame)
    assert np.isfinite(flow).all()
    outside = ~frame.visibility.mask
    steps = np.hypot(*np.moveaxis(np.diff(flow, axis=1), -1, 0))[outside[:, 1:] & outside[:, :-1]]
    assert steps.max() < 8
    assert (generator.generate(frame)[..., 2] > 80).mean() > 0.99


def test_the_rim_has_no_step():
    frame = driving(parameters(0.3, 0.1, 136.0, 124.0))
    flow = ready().flow(frame)
    rim = frame.visibility.mask[:, 1:] != frame.visibility.mask[:, :-1]
    steps = np.hypot(*np.moveaxis(np.diff(flow, axis=1) - (1, 0), -1, 0))
    assert np.quantile(steps[rim], 0.9) < 1.0


def test_a_mouth_that_the_photo_does_not_show_open_is_dark_inside():
    closed = opened(mesh(parameters()), MOUTH, -40)
    wide = opened(closed, MOUTH, 20)
    generator = ready(np.full((SIZE, SIZE, 3), 180, np.uint8))
    generator.photos[0] = generator._latest = replace(generator.photo, vertices=closed)
    middle = ((wide[13] + wide[14]) / 2).astype(int)
    assert (generator.generate(driving(parameters(), wide))[middle[1], middle[0]] < 90).all()
    assert (generator.generate(driving(parameters(), closed)) == 180).all()


def test_teeth_that_the_photo_shows_stay_and_keep_their_size():
    of = parameters(scale=150.0, y=90.0)
    half = opened(mesh(of), MOUTH, 5)
    wide = opened(half, MOUTH, 3)
    generator = ready(of=of)
    generator._latest = replace(generator.photo, vertices=half)
    frame = driving(of, wide)
    flow = generator.flow(frame)
    x, ring = int(wide[13, 0]), set(MOUTH[0] + MOUTH[1])
    column = frame.visibility.triangle[:, x]
    inside = [y for y in range(SIZE) if column[y] >= 0 and set(MODEL.triangles[column[y]]) <= ring]
    upper, lower = inside[:2], inside[-2:]
    for rows, there, here in ((upper, half[13, 1], wide[13, 1]), (lower, half[14, 1], wide[14, 1])):
        np.testing.assert_allclose(flow[rows, x, 1] - there, np.array(rows) + 0.5 - here, atol=0.5)


@pytest.mark.parametrize(("eye", "iris"), [(RIGHT_EYE, IRISES[1]), (LEFT_EYE, IRISES[2])])
def test_irises_go_where_the_driving_fit_says(eye, iris):
    photo = opened(mesh(parameters(scale=110.0)), eye, 6)
    looking = photo.copy()
    looking[iris : iris + 5, 0] += 3
    generator = ready(of=parameters(scale=110.0))
    generator._latest = replace(generator.photo, vertices=photo)
    flow = generator.flow(driving(parameters(scale=110.0), looking))
    column, row = looking[iris, :2].astype(int)
    expected = photo[iris, :2] + (CENTRES[row, column] - looking[iris, :2])
    np.testing.assert_allclose(flow[row, column], expected, atol=0.3)
    corner = photo[eye[0][0], :2].astype(int)
    np.testing.assert_allclose(flow[corner[1], corner[0]], CENTRES[corner[1], corner[0]], atol=0.3)


@pytest.mark.parametrize("eye", [RIGHT_EYE, LEFT_EYE])
def test_a_blink_hides_the_eye(eye):
    vertices = opened(mesh(parameters(scale=110.0)), eye, 4)
    picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
    kinds = {tuple(sorted(t)) for t in MODEL.triangles if set(t) <= set(eye[0] + eye[1])}
    seen = rasterise(vertices, MODEL.triangles)
    inside = np.array([tuple(sorted(t)) in kinds for t in MODEL.triangles])[seen.triangle] & seen.mask
    picture[inside] = 0
    generator = ready(picture)
    generator._latest = replace(generator.photo, vertices=vertices)
    assert inside.sum() > 60
    shut = generator.generate(driving(parameters(scale=110.0), opened(vertices, eye, -40)))
    assert (shut < 60).all(-1).sum() < 0.25 * inside.sum()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_nonsense_does_not_crash(value):
    vertices = mesh(parameters())
    vertices[7] = value
    assert ready().generate(driving(parameters(), vertices)).shape == (SIZE, SIZE, 3)


def test_a_face_out_of_the_picture_leaves_a_picture():
    picture = ready().generate(driving(parameters(x=600.0)))
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8


def test_another_photo_is_painted_from_once_it_has_come():
    generator = ready()
    generator.prepare(ReferenceFrame(1, np.full_like(MAP, 77), parameters(), IDENTITY))
    assert sorted(generator.photos) == [0, 1]
    assert (generator.generate(driving(parameters())) == 77).all()

"""The z-buffer against a rasteriser without any cleverness, on the real mesh and on random ones."""

import numpy as np
import pytest

from codec.face_model import FaceModel
from codec.parameters import SIZE, Camera
from codec.raster import flow, pncc, pncc_colours, rasterise


def posed(yaw=0.0, scale=90.0):
    model = FaceModel.load()
    camera = Camera(scale, np.array((0.1, yaw, 0.05), np.float32), np.array((128.0, 130.0, 0.0), np.float32))
    return model, model.project(model.mean, camera)


def brute_force(vertices, triangles):
    """Every triangle against every pixel, in float64: index (-1: none), depth, and how near its edges a pixel lies."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    index, depth, margin = np.full((SIZE, SIZE), -1), np.full((SIZE, SIZE), np.inf), np.full((SIZE, SIZE), np.inf)
    for t, corners in enumerate(triangles):
        a, b, c = np.asarray(vertices, np.float64)[corners]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if not np.isfinite(area) or abs(area) < 1e-9:
            continue
        u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
        v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
        least = np.minimum(np.minimum(u, v), 1 - u - v)
        margin = np.minimum(margin, np.abs(least))
        z = u * a[2] + v * b[2] + (1 - u - v) * c[2]
        nearer = (least >= 0) & (z < depth)
        index[nearer], depth[nearer] = t, z[nearer]
    return index, depth, margin


def depth_of(visibility, vertices, triangles):
    u, v = visibility.barycentric[..., 0], visibility.barycentric[..., 1]
    z = vertices[triangles[visibility.triangle], 2]
    return u * z[..., 0] + v * z[..., 1] + (1 - u - v) * z[..., 2]


@pytest.mark.parametrize("yaw", [0.0, 0.9])
def test_the_face_as_by_brute_force(yaw):
    model, vertices = posed(yaw)
    seen = rasterise(vertices, model.triangles)
    index, depth, margin = brute_force(vertices, model.triangles)
    sure = margin > 1e-4
    assert 0.1 < seen.mask.mean() < 0.6
    assert (seen.mask == (index >= 0))[sure].all()
    both = seen.mask & (index >= 0)
    assert np.abs(depth_of(seen, vertices, model.triangles) - depth)[both].max() < 1e-2
    assert (seen.triangle == index)[both & sure].mean() > 0.999


def test_random_triangles_as_by_brute_force():
    rng = np.random.default_rng(5)
    vertices = rng.uniform(-80, 330, (60, 3)).astype(np.float32)
    triangles = rng.integers(0, 60, (40, 3)).astype(np.int32)
    seen = rasterise(vertices, triangles)
    index, _, margin = brute_force(vertices, triangles)
    assert (seen.triangle == index)[margin > 1e-4].all()


def test_no_crack_between_triangles():
    rng = np.random.default_rng(1)
    steps = np.linspace(20, 230, 12)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) + rng.uniform(-5, 5, (144, 2))
    vertices = np.concatenate((grid, np.zeros((144, 1))), 1).astype(np.float32)
    corner = (np.arange(11)[:, None] * 12 + np.arange(11)).ravel()
    triangles = np.concatenate(
        (np.stack((corner, corner + 1, corner + 12), 1), np.stack((corner + 1, corner + 13, corner + 12), 1))
    )
    assert rasterise(vertices, triangles).mask[40:210, 40:210].all()


def test_pixel_centres():
    vertices = np.array(((10.4, 10.4, 0), (12.4, 10.4, 0), (10.4, 12.4, 0)), np.float32)
    seen = rasterise(vertices, np.array(((0, 1, 2),)))
    assert sorted(zip(*np.nonzero(seen.mask), strict=True)) == [(10, 10), (10, 11), (11, 10)]


def test_the_nearer_surface_wins():
    square = np.array(((0, 0), (256, 0), (256, 256), (0, 256)), np.float32)
    far = np.concatenate((square, np.full((4, 1), 5.0)), 1)
    near = np.concatenate((square, np.full((4, 1), 1.0)), 1)
    triangles = np.array(((0, 1, 2), (0, 2, 3), (4, 5, 6), (4, 6, 7)))
    assert (rasterise(np.concatenate((far, near)).astype(np.float32), triangles).triangle >= 2).all()
    assert (rasterise(np.concatenate((near, far)).astype(np.float32), triangles).triangle < 2).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_one_bad_vertex_takes_only_its_triangles(value):
    model, vertices = posed()
    whole = rasterise(vertices, model.triangles)
    vertices = vertices.copy()
    vertices[4] = value
    seen = rasterise(vertices, model.triangles)
    assert np.isfinite(seen.barycentric).all()
    gone = np.isin(whole.triangle, np.nonzero((model.triangles == 4).any(1))[0])
    if value != 1e30:
        assert (seen.mask | gone == whole.mask | gone).all()


def test_nothing_to_see():
    model, vertices = posed()
    triangles = model.triangles
    for mesh in (vertices + np.float32(1000), vertices * np.float32(0), np.full_like(vertices, np.nan)):
        assert not rasterise(mesh, triangles).mask.any()
    assert not rasterise(vertices, np.zeros((0, 3), np.int32)).mask.any()


def test_what_is_no_mesh_is_refused():
    _, vertices = posed()
    with pytest.raises(ValueError, match="names a vertex"):
        rasterise(vertices, np.array(((0, 1, 478),)))
    with pytest.raises(ValueError, match="expected"):
        rasterise(vertices[:, :2], np.array(((0, 1, 2),)))


def test_pncc_is_the_centre_of_the_visible_triangle_in_the_mean_shape():
    model, vertices = posed(0.3)
    seen = rasterise(vertices, model.triangles)
    colours = pncc_colours(model)
    picture = pncc(seen, colours)
    assert picture.dtype == np.float32
    assert picture.shape == (SIZE, SIZE, 3)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert (picture[~seen.mask] == 0).all()
    row, column = np.argwhere(seen.mask)[500]
    skin = model.mean[:468]
    centre = model.mean[model.triangles[seen.triangle[row, column]]].mean(0)
    expected = (centre - skin.min(0)) / (skin.max(0) - skin.min(0))
    np.testing.assert_allclose(picture[row, column], expected, atol=1e-5)


def test_flow_to_itself_is_the_identity_and_to_a_moved_mesh_its_motion():
    model, vertices = posed(-0.2)
    seen = rasterise(vertices, model.triangles)
    centres = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1)
    np.testing.assert_allclose(flow(seen, model.triangles, vertices), centres, atol=1e-3)
    moved = flow(seen, model.triangles, vertices[:, :2] * np.float32(1.5) + np.float32(7))
    np.testing.assert_allclose(moved[seen.mask], centres[seen.mask] * 1.5 + 7, atol=2e-3)
    np.testing.assert_allclose(moved[~seen.mask], centres[~seen.mask])

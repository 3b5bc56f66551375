"""The GPU rasteriser against the CPU's; runs where CUDA and nvdiffrast are."""

import numpy as np
import pytest

from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.parameters import Camera
from codec.raster import rasterise
from models.raster_nvdiffrast import NvdiffrastRasteriser


def gpu() -> NvdiffrastRasteriser | None:
    try:
        return NvdiffrastRasteriser()
    except HeadwireError:
        return None


def test_without_cuda_it_says_what_is_missing():
    if gpu() is not None:
        pytest.skip("CUDA is here")
    with pytest.raises(HeadwireError, match="CUDA"):
        NvdiffrastRasteriser()


@pytest.mark.parametrize("yaw", [-0.7, 0.0, 0.4])
def test_parity_with_the_cpu(yaw):
    rasteriser = gpu()
    if rasteriser is None:
        pytest.skip("no CUDA device or no nvdiffrast")
    model = FaceModel.load()
    camera = Camera(73.8, np.array([0.1, yaw, 0.05], np.float32), np.array([128, 128, 0], np.float32))
    vertices = model.project(model.mean, camera)
    one, other = rasterise(vertices, model.triangles), rasteriser.rasterise(vertices, model.triangles)
    assert (one.triangle != other.triangle).mean() <= 0.002
    same = (one.triangle == other.triangle) & (one.triangle >= 0)
    assert np.abs(one.barycentric[same] - other.barycentric[same]).max() < 0.02

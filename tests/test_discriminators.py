"""D and D_m: SPADE's multi-scale patch discriminators."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.discriminators import MOUTH, Discriminator, PatchNet, mouth_input, whole_input  # noqa: E402


def test_patch_maps_and_features_of_two_scales() -> None:
    judged = Discriminator(6, base=4)(torch.rand(2, 6, 256, 256))
    assert [tuple(x.patches.shape) for x in judged] == [(2, 1, 35, 35), (2, 1, 19, 19)]
    assert [x.shape[1] for x in judged[0].features] == [4, 8, 16, 32]


def test_spades_own_size() -> None:
    with torch.device("meta"):
        net = Discriminator(6)
    sizes = [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    weights = sum(16 * a * b for a, b in sizes) + 64 + 1
    assert sum(p.numel() for p in net.parameters()) == 2 * weights


def test_spectral_norm_holds_every_layer_to_one() -> None:
    torch.manual_seed(0)
    net = PatchNet(3, base=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(7.0)
    for _ in range(60):
        net(torch.rand(1, 3, 64, 64))
    net.eval()
    for stage in [*net.stages, net.patches]:
        assert torch.linalg.matrix_norm(stage.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def test_coarse_scale_sees_the_mean() -> None:
    net = Discriminator(1, base=2)
    seen: list[Any] = []
    net.scales[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.arange(64.0).view(1, 1, 8, 8).repeat(1, 1, 8, 8)
    net(x)
    assert seen[0].shape[-1] == 32
    assert seen[0][0, 0, 1, 1] == pytest.approx(x[0, 0, 1:4, 1:4].mean().item())


def test_whole_input_is_code_then_picture() -> None:
    code, picture = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert whole_input(code, picture)[0, :, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_mouth_is_cut_around_its_centre() -> None:
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    picture = torch.stack((x, y, x * 0))[None].repeat(2, 1, 1, 1)
    cut = mouth_input(picture, torch.tensor([[128.0, 180.0], [250.0, 3.0]]), None)
    assert cut.shape == (2, 3, MOUTH, MOUTH)
    assert cut[0, :2, 0, 0].tolist() == [96, 148]
    assert cut[0, :2, -1, -1].tolist() == [159, 211]
    assert cut[1, :2, 0, 0].tolist() == [192, 0]


def test_audio_lies_over_every_pixel_of_the_mouth() -> None:
    audio = torch.rand(1, 300)
    cut = mouth_input(torch.rand(1, 3, 256, 256), torch.tensor([[128.0, 128.0]]), audio)
    assert cut.shape[1] == 303
    assert torch.equal(cut[0, 3:, 5, 60], audio[0])
    assert torch.equal(cut[0, 3:, 63, 0], audio[0])


def test_gradient_reaches_only_the_mouth() -> None:
    picture = torch.rand(1, 3, 256, 256, requires_grad=True)
    mouth_input(picture, torch.tensor([[100.0, 100.0]]), None).sum().backward()
    assert picture.grad is not None
    assert picture.grad.sum().item() == 3 * MOUTH * MOUTH
    assert picture.grad[0, 0, 68:132, 68:132].min().item() == 1

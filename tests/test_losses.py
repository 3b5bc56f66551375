"""Each loss of Eq. 3-9 against a case worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.discriminators import Judged  # noqa: E402
from training import losses  # noqa: E402
from training.losses import LossWeights  # noqa: E402


def _said(*patches: list[float], features: tuple[float, ...] = ()) -> list[Judged]:
    maps = tuple(torch.tensor([[[[v]]]], requires_grad=True) for v in features)
    return [Judged(torch.tensor(row, requires_grad=True).view(-1, 1, 1, 1), maps) for row in patches]


def test_weights_are_the_papers() -> None:
    assert LossWeights() == LossWeights(l1=50, vgg=10, matching=10)


def test_hinge_of_the_discriminator() -> None:
    # Real 2 and 0.5: max(0, 1 - D) = 0 and 0.5; painted -3 and 0: max(0, 1 + D) = 0 and 1.
    assert losses.hinge_discriminator(_said([2.0, 0.5]), _said([-3.0, 0.0])).item() == pytest.approx(0.25 + 0.5)


def test_hinge_of_the_discriminator_is_the_mean_over_scales() -> None:
    loss = losses.hinge_discriminator(_said([0.0], [1.0]), _said([0.0], [-1.0]))
    assert loss.item() == pytest.approx((2 + 0) / 2)


def test_hinge_pushes_only_what_is_not_sure() -> None:
    real, fake = _said([2.0, 0.5]), _said([-3.0, 0.0])
    patches = (real[0].patches, fake[0].patches)
    grads = torch.autograd.grad(losses.hinge_discriminator(real, fake), patches)
    assert grads[0].flatten().tolist() == [0.0, -0.5]
    assert grads[1].flatten().tolist() == [0.0, 0.5]


def test_hinge_of_the_generator() -> None:
    assert losses.hinge_generator(_said([1.0, 2.0], [-3.0])).item() == pytest.approx(-(1.5 - 3.0) / 2)


def test_feature_matching_sums_layers_and_averages_scales() -> None:
    real = _said([0.0], [0.0], features=(1.0, 2.0))
    fake = _said([0.0], [0.0], features=(1.5, 0.0))
    loss = losses.feature_matching(real, fake)
    assert loss.item() == pytest.approx(0.5 + 2.0)
    loss.backward()
    assert real[0].features[0].grad is None
    assert fake[0].features[0].grad is not None


def test_l1() -> None:
    assert losses.picture_l1(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5])).item() == pytest.approx(1.0)


def test_perceptual_weighs_the_maps_and_spares_the_truth() -> None:
    truth = [torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([0.0])]
    shown = [torch.tensor([2.0, 3.0], requires_grad=True), torch.tensor([-4.0])]
    loss = losses.perceptual(truth, shown, (0.25, 1.0))
    assert loss.item() == pytest.approx(0.25 * 0.5 + 4.0)
    loss.backward()
    assert truth[0].grad is None
    assert shown[0].grad is not None
    assert shown[0].grad.tolist() == [0.125, 0.0]


def test_a_batch_in_two_parts_means_the_same() -> None:
    real, fake = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)

    def loss(part: slice) -> Any:
        return losses.hinge_discriminator([Judged(real[part], ())], [Judged(fake[part], ())])

    halves = (loss(slice(0, 2)) + loss(slice(2, 4))) / 2
    assert loss(slice(0, 4)).item() == pytest.approx(halves.item(), rel=1e-5)


def test_split_takes_real_and_painted_apart() -> None:
    judged = [Judged(torch.arange(4.0).view(4, 1, 1, 1), (torch.arange(4.0).view(4, 1, 1, 1),))]
    real, fake = losses.split(judged)
    assert real[0].patches.flatten().tolist() == [0, 1]
    assert fake[0].patches.flatten().tolist() == [2, 3]
    assert fake[0].features[0].flatten().tolist() == [2, 3]


def test_vgg_features_see_what_torchvision_defines(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from training.features import VggFeatures

    state, index, channels = {}, 0, 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512):
        if width == 0:
            index += 1
            continue
        state[f"features.{index}.weight"] = torch.zeros(width, channels, 3, 3)
        state[f"features.{index}.weight"][:, 0, 1, 1] = 1.0
        state[f"features.{index}.bias"] = torch.zeros(width)
        index, channels = index + 2, width
    torch.save(state, tmp_path / "vgg19.pth")
    net = VggFeatures(tmp_path / "vgg19.pth")
    maps = net(torch.ones(1, 3, 64, 64))
    # White is (1 - 0.485) / 0.229 in the first channel, and each layer hands the first channel on.
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    assert all(m.mean().item() == pytest.approx((1 - 0.485) / 0.229, rel=1e-4) for m in maps)
    assert net.name == "vgg19"
    assert not list(net.parameters())


def test_a_file_that_is_no_vgg19(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from codec.errors import HeadwireError, UsageError
    from training.features import VggFeatures

    with pytest.raises(UsageError):
        VggFeatures(tmp_path / "missing.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "half.pth")
    with pytest.raises(HeadwireError, match="VGG19"):
        VggFeatures(tmp_path / "half.pth")
    (tmp_path / "noise.pth").write_bytes(b"not a file of torch")
    with pytest.raises(HeadwireError, match="VGG19"):
        VggFeatures(tmp_path / "noise.pth")

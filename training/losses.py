"""The losses of section 3.3, Eq. 3-9.

Eq. 4 and 5, the discriminators', are printed with a misplaced bracket; the hinge loss is meant:

    L_D = E[max(0, 1 - D(x, y))] + E[max(0, 1 + D(x, y~))]          (4); (5) the same for D_m
    L_G = -E[D(x, y~)] - E[D_m(h, y~ mouth)] + 50 L_1 + 10 L_VGG + 10 L_FM      (3)
    L_1 and L_VGG: of the painted picture and of the warped reference           (6-8);   L_FM: Eq. 9, of D and D_m

Every expectation is the mean over batch and patches, so that a batch cut into equal parts gives the mean of the parts'
losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as f

from models.discriminators import Judged


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of Eq. 3 beside the adversarial ones, which have 1."""

    l1: float = 50.0
    vgg: float = 10.0
    matching: float = 10.0


def hinge_discriminator(real: Sequence[Judged], fake: Sequence[Judged]) -> Tensor:
    """Eq. 4 and 5, the mean over scales."""
    terms = [
        f.relu(1 - r.patches.float()).mean() + f.relu(1 + k.patches.float()).mean()
        for r, k in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def hinge_generator(fake: Sequence[Judged]) -> Tensor:
    """The adversarial term of Eq. 3: minus what the discriminator says, the mean over scales."""
    return -torch.stack([k.patches.float().mean() for k in fake]).mean()


def feature_matching(real: Sequence[Judged], fake: Sequence[Judged]) -> Tensor:
    """Eq. 9: L1 between a discriminator's features, summed over layers, the mean over scales. Real ones get no
    gradient.
    """
    total = [
        f.l1_loss(b.float(), a.detach().float())
        for r, k in zip(real, fake, strict=True)
        for a, b in zip(r.features, k.features, strict=True)
    ]
    return torch.stack(total).sum() / len(real)


def picture_l1(truth: Tensor, shown: Tensor) -> Tensor:
    """Mean absolute difference of pictures in -1..1 (Eq. 6)."""
    return f.l1_loss(shown.float(), truth.float())


def perceptual(truth: Sequence[Tensor], shown: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Eq. 7: weighted L1 between the feature maps of two pictures. The truth gets no gradient."""
    terms = [w * f.l1_loss(b.float(), a.detach().float()) for a, b, w in zip(truth, shown, weights, strict=True)]
    return torch.stack(terms).sum()


def split(judged: Sequence[Judged]) -> tuple[list[Judged], list[Judged]]:
    """What was said of a batch of real pictures followed by as many painted ones, taken apart."""
    real, fake = [], []
    for scale in judged:
        half = len(scale.patches) // 2
        real.append(Judged(scale.patches[:half], tuple(x[:half] for x in scale.features)))
        fake.append(Judged(scale.patches[half:], tuple(x[half:] for x in scale.features)))
    return real, fake

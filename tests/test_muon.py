"""Muon: updates of kernels have equal singular values, all else learns as with Adam."""

from __future__ import annotations

import torch
from torch import nn

from training.muon import Muon, orthogonal


def test_singular_values_become_alike() -> None:
    torch.manual_seed(0)
    for shape in ((8, 20), (20, 8)):
        matrix = torch.randn(shape) * torch.logspace(-1, 1, shape[1])
        before, after = (torch.linalg.svdvals(x) for x in (matrix, orthogonal(matrix)))
        assert before.max() / before.min() > 3
        assert after.min() > 0.5
        assert after.max() < 1.3


def test_a_kernel_moves_by_the_rate_times_adams_size() -> None:
    kernel = nn.Parameter(torch.zeros(16, 16, 3, 3))
    optimizer = Muon([{"params": [kernel], "muon": True}], lr=0.01)
    kernel.grad = torch.randn_like(kernel, requires_grad=False)
    optimizer.step()
    assert 0.1 * 0.01 < kernel.detach().square().mean().sqrt() < 0.3 * 0.01


def test_what_is_no_kernel_learns_as_with_adam() -> None:
    torch.manual_seed(0)
    one, other = (nn.Parameter(torch.ones(5)) for _ in range(2))
    muon = Muon([{"params": [one]}], lr=0.1, betas=(0.9, 0.99))
    adam = torch.optim.Adam([other], lr=0.1, betas=(0.9, 0.99))
    for _ in range(5):
        grad = torch.randn(5)
        one.grad, other.grad = grad.clone(), grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(one, other)


def test_it_finds_the_least_of_a_quadratic() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(6, 4, 3, 3)
    kernel = nn.Parameter(torch.zeros_like(wanted))
    optimizer = Muon([{"params": [kernel], "muon": True}], lr=0.2)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 300)
        optimizer.zero_grad()
        (kernel - wanted).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float((kernel - wanted).detach().abs().max()) < 0.05

"""Muon for convolutions: momentum whose singular values are all made one, so that no direction of a weight learns faster than others.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale of an update is Adam's (J. Liu et al.,
"Muon is scalable for LLM training", 2025), so one learning rate serves both. ``torch.optim.Muon`` takes matrices alone: here a kernel
(out, in, h, w) is the matrix (out, in h w), and what is no kernel learns by Adam.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ADAM_RMS = 0.2


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """(m, n) -> the same with all singular values near one (0.7 to 1.2), by Newton and Schulz's iteration of fifth order."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """params: groups as for any optimiser; those with ``muon=True`` hold kernels, the others learn by Adam with ``betas``.

    lr: of both. momentum: Nesterov's, of the kernels.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.99), momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "momentum": momentum, "muon": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all that has a gradient. closure: not used."""
        for group in self.param_groups:
            update = self._kernel if group["muon"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, group)

    def _kernel(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad = self.state[parameter], parameter.grad
        assert grad is not None
        if not state:
            state["m"] = torch.zeros_like(parameter)
        state["m"].lerp_(grad, 1 - group["momentum"])
        update = orthogonal(grad.lerp(state["m"], group["momentum"]).flatten(1))
        size = _ADAM_RMS * max(update.shape) ** 0.5
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * size)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad, (first, second) = self.state[parameter], parameter.grad, group["betas"]
        assert grad is not None
        if not state:
            state["v"], state["e"], state["t"] = torch.zeros_like(parameter), torch.zeros_like(parameter), 0
        state["t"] += 1
        state["e"].lerp_(grad, 1 - first)
        state["v"].mul_(second).addcmul_(grad, grad, value=1 - second)
        spread = (state["v"] / (1 - second ** state["t"])).sqrt() + 1e-8
        parameter.addcdiv_(state["e"] / (1 - first ** state["t"]), spread, value=-group["lr"])


def grouped(net: nn.Module, heads: Sequence[nn.Parameter], share: float) -> list[dict[str, Any]]:
    """``Muon``'s groups of a network: kernels, all else, and the last layers, which learn by Adam at that share of the rate."""
    ids = {id(p) for p in heads}
    body = [p for p in net.parameters() if id(p) not in ids]
    return [
        {"params": [p for p in body if p.ndim == 4], "share": 1.0, "muon": True},
        {"params": [p for p in body if p.ndim != 4], "share": 1.0},
        {"params": list(heads), "share": share},
    ]


def half_cosine(step: int, steps: int, rate: float, warm_up: int) -> float:
    """The learning rate of a step: a rise over ``warm_up`` steps to ``rate``, then half a cosine down to a fiftieth of it."""
    if step < warm_up:
        return rate * (step + 1) / warm_up
    part = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))

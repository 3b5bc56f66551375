"""Training ``full``: ``light``'s task for a GPU, with further photos and with sound.

``headwire train full`` makes what it learns from (``training.full_triples``) and calls ``run``; under ``torchrun -m training.full``
its processes share each batch. ``training.full_export`` ships it. ``--device`` says where: ``auto`` is CUDA where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from codec.errors import UsageError
from models.full_config import FullConfig
from models.full_network import FullNet, painted
from training.distributed import group
from training.full_data import FullBatch, FullSource
from training.full_triples import FullTriples, open_triples
from training.light_losses import LightWeights, PerceptualDistance, counts, edges, harm
from training.loop import LoopSettings, Source, Task
from training.loop import run as run_loop
from training.muon import Muon, grouped, half_cosine
from training.options import command

RUN = Path("runs/full")
_SIZES = FullConfig()


@dataclass(frozen=True)
class FullSettings:
    """What to train, beside ``LoopSettings``.

    fine, coarse, blocks, middle: see ``FullConfig``; further photos and look-ahead are what the triples have. audio: it hears. rate,
    warm_up, heads, crop, still, motion, memory, wrong, triples: as ``light``'s. alone: how often further photos are taken away.
    perceptual: LPIPS' two networks in the loss, or without them L1, edges and harm alone.
    """

    fine: int = _SIZES.fine
    coarse: int = _SIZES.coarse
    blocks: int = _SIZES.blocks
    middle: int = _SIZES.middle
    audio: bool = True
    rate: float = 4e-4
    heads: float = 0.1
    warm_up: int = 100
    crop: int = 128
    triples: Path | None = None
    still: float = 1.0
    motion: float = 1.0
    memory: float = 1.0
    alone: float = 0.1
    validation_step: int = 4
    wrong: float = 0.04
    perceptual: bool = True
    weights: LightWeights = field(default_factory=LightWeights)

    def config(self, triples: Sequence[FullTriples]) -> FullConfig:
        """The network's, for these triples."""
        audio, first = _SIZES.audio if self.audio else 0, triples[0]
        return FullConfig(self.fine, self.coarse, self.blocks, self.middle, first.others, audio, first.ahead)


def run(settings: FullSettings, loop: LoopSettings) -> dict[str, float]:
    """Train, or go on, and return the figures. Raises UsageError where there is nothing to learn from, HeadwireError as
    ``training.loop.run`` does.
    """
    torch.manual_seed(loop.seed)
    with group(loop.device) as parts:
        triples = open_triples(settings.triples)
        kinds = (settings.still, settings.motion, settings.memory)
        source = FullSource(triples, loop.seed, kinds, settings.crop, settings.alone)
        task = FullTask(settings, settings.config(triples), loop.steps, parts.device)
        return run_loop(task, cast(Source, source), loop, parts)


class FullTask(Task):
    """The network and how it learns. steps: in all, for the learning rate. device: where the losses' own networks go."""

    averaged = ("full",)

    def __init__(self, settings: FullSettings, config: FullConfig, steps: int, device: torch.device) -> None:
        self.settings, self.steps, self.device = settings, steps, device
        self.net = FullNet(config)
        self.modules = {"full": self.net}
        heads = self.net.heads
        self.optimizers = {"full": Muon(grouped(self.net, heads, settings.heads), lr=settings.rate)}
        self.judges: dict[str, PerceptualDistance] = {}
        if settings.perceptual:
            self.judges = {"alex": PerceptualDistance("alex"), "vgg": PerceptualDistance("vgg", stages=4)}
            for judge in self.judges.values():
                judge.to(device)
        self.description = {"network": "full", **asdict(config)}

    def rate(self, step: int) -> float:
        """The learning rate of a step: a rise, then half a cosine."""
        s = self.settings
        return half_cosine(step, self.steps, s.rate, s.warm_up)

    def step(self, batch: Any, parallel: dict[str, Any]) -> dict[str, Tensor]:
        optimizer, w = self.optimizers["full"], self.settings.weights
        for part in optimizer.param_groups:
            part["lr"] = part["share"] * self.rate(batch.step)
        out = self.shown(batch, parallel["full"])
        each = {"l1": (out - batch.truth).abs().mean((1, 2, 3)), "edges": edges(batch.truth, out)}
        each |= {name: judge(batch.truth, out) for name, judge in self.judges.items()}
        each["change"] = (out - batch.shown).abs().mean((1, 2, 3))
        each["harm"] = harm(batch.truth, batch.shown, out)
        count = counts(batch.truth, batch.shown, self.settings.wrong)
        said = {name: (count * value).mean() for name, value in each.items()}
        total = torch.stack([getattr(w, name) * value for name, value in said.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        said["gradient"] = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            said["l1_warp"] = (count * (batch.shown - batch.truth).abs().mean((1, 2, 3))).mean()
        return said

    def shown(self, batch: FullBatch, net: Any) -> Tensor:
        """What a network makes of a batch, (B, 3, S, S)."""
        audio = batch.audio if self.net.config.audio else None
        return painted(batch.shown, batch.others, net(batch.shown, batch.others, batch.geometry, audio))

    @torch.no_grad()
    def pictures(self, batch: Any, averages: dict[str, nn.Module]) -> Tensor:
        rows = [batch.shown, *(batch.others[:, n] for n in range(batch.others.shape[1]))]
        rows += [self.shown(batch, averages["full"]), batch.truth]
        return (torch.cat([torch.cat(list(row.float()), 2) for row in rows], 1) / 2 + 0.5).clamp(0, 1)

    def validate(self, averages: dict[str, nn.Module]) -> dict[str, float]:
        try:
            clips = open_triples(self.settings.triples, "validation")
        except UsageError:
            return {}
        return validation_figures(lambda batch: self.shown(batch, averages["full"]), clips, self.settings, self.device)


def validation_figures(
    paint: Any, clips: Sequence[FullTriples], settings: FullSettings, device: torch.device
) -> dict[str, float]:
    """``KIND/warp/FIGURE`` and ``KIND/full/FIGURE`` on held-out people, mean over people; LPIPS where its weights are."""
    from training.evaluation import lpips_nets
    from training.light_evaluation import measure

    source = FullSource(clips)
    numbers = {id(t): n for n, t in enumerate(source.triples)}

    @torch.no_grad()
    def one(t: Any, index: int) -> Any:
        out = paint(source.whole(numbers[id(t)], index).to(device))
        return ((out[0].float() + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()

    nets = lpips_nets()
    if not nets:
        return {}
    found = measure(one, clips, settings.validation_step, nets)
    return {
        f"{setting.replace('/light', '/full')}/{name}": value
        for setting, row in found.items()
        for name, value in row.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """What ``torchrun -m training.full`` runs in every process."""
    kinds = (FullSettings, LoopSettings)
    defaults = {"run": RUN, "steps": 100_000, "batch": 32, "precision": "bf16", "validate_every": 0}
    command("Train full.", kinds, run, arguments, **defaults)


if __name__ == "__main__":
    main()

"""Training ``light``: a small network that corrects what ``warp`` paints.

``headwire train light`` calls ``run``; under ``torchrun -m training.light`` its processes share each batch. ``training.light_triples``
makes what it learns from, ``training.light_export`` ships it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from codec.errors import UsageError
from models.light_graph import read_weights
from training import checkpoints
from training.distributed import group
from training.light_data import LightBatch, LightSource
from training.light_losses import LightWeights, PerceptualDistance, counts, edges, harm
from training.light_network import LightConfig, LightNet, in_cells, painted
from training.light_triples import open_triples
from training.loop import LoopSettings, Source, Task
from training.loop import run as run_loop
from training.muon import Muon, grouped, half_cosine
from training.options import command

RUN = Path("runs/light")


@dataclass(frozen=True)
class LightSettings:
    """What to train, beside ``LoopSettings``.

    fine .. late: see ``LightConfig``. initial: a run's folder, whose averaged weights a new run begins with, or a file of shipped
    ones; layers that they lack begin as nothing. rate: of learning, at its highest; warm_up: steps until there; after that half a
    cosine to the last step. heads: the last layers' part of it: they add up 576 numbers, and at the full rate one step moves pixels
    by ten grey levels, which drowns all else. crop: side, pixels. vgg_crops, vgg_side: how many parts of a batch LPIPS-VGG looks
    at, of what side. triples: folder. still, motion, memory: weights of the kinds of samples. wrong: L1 of the warped picture,
    -1..1, from which a sample counts less; see ``counts``. turned: share of samples that are turned and resized.
    """

    fine: int = 64
    coarse: int = 112
    blocks: int = 2
    middle: int = 3
    deep: int = 192
    bottom: int = 3
    late: int = 1
    initial: Path | None = None
    rate: float = 4e-4
    heads: float = 0.1
    warm_up: int = 100
    crop: int = 128
    vgg_crops: int = 2
    vgg_side: int = 80
    triples: Path | None = None
    still: float = 1.0
    motion: float = 1.0
    memory: float = 1.0
    validation_step: int = 4
    wrong: float = 0.04
    turned: float = 0.5
    weights: LightWeights = field(default_factory=LightWeights)

    @property
    def config(self) -> LightConfig:
        """The network's."""
        return LightConfig(**{name.name: getattr(self, name.name) for name in fields(LightConfig)})


def run(settings: LightSettings, loop: LoopSettings) -> dict[str, float]:
    """Train, or go on, and return the figures. Raises UsageError where there is nothing to learn from, HeadwireError as
    ``training.loop.run`` does.
    """
    torch.manual_seed(loop.seed)
    with group(loop.device) as parts:
        kinds = (settings.still, settings.motion, settings.memory)
        source = LightSource(open_triples(settings.triples), loop.seed, kinds, settings.crop, settings.turned)
        return run_loop(LightTask(settings, loop.steps, parts.device), cast(Source, source), loop, parts)


class LightTask(Task):
    """The network and how it learns. steps: in all, for the learning rate. device: where the losses' own networks go."""

    averaged = ("light",)

    def __init__(self, settings: LightSettings, steps: int, device: torch.device | None = None) -> None:
        self.settings, self.steps = settings, steps
        layout: Any = {"memory_format": torch.channels_last}
        self.net = LightNet(settings.config)
        if settings.initial is not None:
            begin_with(self.net, settings.initial)
        self.net.to(**layout)
        self.modules = {"light": self.net}
        heads = [*self.net.colour.parameters(), *self.net.flow.parameters()]
        self.optimizers = {"light": Muon(grouped(self.net, heads, settings.heads), lr=settings.rate)}
        self.alex = PerceptualDistance("alex").to(device)
        self.vgg = PerceptualDistance("vgg", stages=4).to(**layout).to(device)
        self.description = {"network": "light", **asdict(settings.config)}

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        s = self.settings
        return half_cosine(step, self.steps, s.rate, s.warm_up)

    def step(self, batch: Any, parallel: dict[str, Any]) -> dict[str, Tensor]:
        optimizer, w = self.optimizers["light"], self.settings.weights
        for part in optimizer.param_groups:
            part["lr"] = part["share"] * self.rate(batch.step)
        out = painted(batch.shown, *parallel["light"](in_cells(batch.shown), batch.geometry))
        each = {"l1": (out - batch.truth).abs().mean((1, 2, 3)), "edges": edges(batch.truth, out)}
        each["alex"] = self.alex(batch.truth, out)
        each["change"] = (out - batch.shown).abs().mean((1, 2, 3))
        each["harm"] = harm(batch.truth, batch.shown, out)
        count = counts(batch.truth, batch.shown, self.settings.wrong)
        said = {name: (count * value).mean() for name, value in each.items()}
        chosen, *squares = self._parts(batch, out)
        said["vgg"] = (count[chosen] * self.vgg(*squares)).mean()
        total = torch.stack([getattr(w, name) * value for name, value in said.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        said["gradient"] = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            said["l1_warp"] = (count * (batch.shown - batch.truth).abs().mean((1, 2, 3))).mean()
        return said

    def _parts(self, batch: LightBatch, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of some of the crops, and squares of them, of truth and picture."""
        s = self.settings
        side, room = min(s.vgg_side, s.crop), max(0, s.crop - s.vgg_side)
        places = torch.Generator().manual_seed(batch.step)
        pairs = []
        chosen = torch.randperm(len(out), generator=places)[: s.vgg_crops].to(out.device)
        for n in chosen:
            y, x = (int(v) for v in torch.randint(0, room + 1, (2,), generator=places))
            pairs.append(torch.stack((batch.truth[n], out[n]))[..., y : y + side, x : x + side])
        both = torch.stack(pairs, 1)
        return chosen, both[0], both[1]

    @torch.no_grad()
    def pictures(self, batch: Any, averages: dict[str, nn.Module]) -> Tensor:
        out = painted(batch.shown, *averages["light"](in_cells(batch.shown), batch.geometry))
        rows = (batch.shown, out, batch.truth)
        return (torch.cat([torch.cat(list(row.float()), 2) for row in rows], 1) / 2 + 0.5).clamp(0, 1)

    def validate(self, averages: dict[str, nn.Module]) -> dict[str, float]:
        from training.light_evaluation import validation_figures

        return validation_figures(averages["light"], self.settings.triples, self.settings.validation_step)


def begin_with(net: LightNet, initial: Path) -> None:
    """Give a network a run's averaged weights, or shipped ones. Raises UsageError where there are none, or their layers have other
    sizes, HeadwireError where the file is none of ``light``'s.
    """
    if initial.is_file():
        shipped = {name: torch.from_numpy(array) for name, array in read_weights(initial)[0].items()}
        weights = {name: value for name, value in shipped.items() if not name.endswith(".range")}
    else:
        state = checkpoints.load(initial)
        if state is None:
            raise UsageError(f"no checkpoint in {initial} to begin with")
        weights = state["averages"].get("light", {})
    try:
        other = net.load_state_dict(weights, strict=False).unexpected_keys
    except RuntimeError as error:
        raise UsageError(
            f"the network in {initial} has other layers than the one to train: begin without it"
        ) from error
    if other or not weights:
        raise UsageError(f"the network in {initial} has layers that this one has not: begin without it")


def main(arguments: Sequence[str] | None = None) -> None:
    """What ``torchrun -m training.light`` runs in every process."""
    kinds = (LightSettings, LoopSettings)
    defaults = {"run": RUN, "steps": 16000, "batch": 8, "precision": "bf16", "validate_every": 0}
    command("Train light.", kinds, run, arguments, **defaults)


if __name__ == "__main__":
    main()

"""Training HeadGAN: the paper's generator against D and D_m, with the losses of Eq. 3-9.

``headwire train headgan`` calls ``run``; under ``torchrun -m training.headgan`` its processes share each batch. One
step: paint; D and D_m learn from the real and the painted picture; the generator learns from what they then say, from
L1 and from VGG features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.audio_features import AHEAD
from codec.errors import UsageError
from models.discriminators import Discriminator, Judged, mouth_input, whole_input
from models.headgan import AUDIO, HeadGANConfig
from models.headgan_networks import HeadGANNet
from training import losses
from training.distributed import Group, group
from training.evaluation import validation_figures
from training.features import WEIGHTS, perceptual_features
from training.loop import LoopSettings, Task
from training.loop import run as run_loop
from training.losses import LossWeights
from training.options import command
from training.pairs import PairBatch, PairSettings, PairSource
from training.pairs_store import StoredClip, open_store, with_sound

RUN = Path("runs/headgan")


@dataclass(frozen=True)
class HeadGANSettings:
    """What to train, beside ``LoopSettings``.

    width, flow: see ``HeadGANConfig``; audio: with h_audio, on the clips that have sound; sounding: on those alone in
    any case. ahead: parts of look-ahead of the store's h_audio, None as the store says. sketches: landmark sketches in
    PNCC's place. judges:
    channels of the discriminators' first layer, 64 in SPADE, None scales them with ``width``. adversarial: off leaves
    L1 and the perceptual loss alone. features: of that loss, ``vgg`` as in the paper, ``alex`` (cheap) or ``none``;
    vgg19: a file with VGG19's weights, None is VGG16. rate, betas: Adam's.
    resident: keep all clips and their buffers on the device, None is yes on CUDA. store: prepared clips.
    validation_step: of each held-out clip every so many stored pictures are judged.
    """

    width: float = 1.0
    audio: bool = False
    sounding: bool = False
    ahead: int | None = None
    flow: bool = True
    sketches: bool = False
    judges: int | None = None
    adversarial: bool = True
    features: str = "vgg"
    vgg19: Path | None = None
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weights: LossWeights = field(default_factory=LossWeights)
    resident: bool | None = None
    store: Path | None = None
    validation_step: int = 1

    @property
    def config(self) -> HeadGANConfig:
        """The network's."""
        ahead = AHEAD if self.ahead is None or not self.audio else self.ahead
        return HeadGANConfig(self.width, AUDIO if self.audio else 0, self.flow, ahead)


def run(settings: HeadGANSettings, loop: LoopSettings) -> dict[str, float]:
    """Train, or go on, and return the figures. Raises UsageError where there are no prepared clips or the settings do
    not fit, HeadwireError as ``training.loop.run`` does.
    """
    torch.manual_seed(loop.seed)
    with group(loop.device) as parts:
        resident = parts.device.type == "cuda" if settings.resident is None else settings.resident
        pairs = PairSettings(sketches=settings.sketches, audio=settings.audio, sounding=settings.sounding)
        source = PairSource(
            open_store(settings.store), pairs, loop.seed, parts.device if resident else "cpu", resident=resident
        )
        if settings.audio:
            settings = replace(settings, ahead=look_ahead(source.clips, settings.ahead))
        task = HeadGANTask(settings, parts, _held_out(settings))
        return run_loop(task, source, loop, parts)


def look_ahead(clips: Sequence[StoredClip], wanted: int | None = None) -> int:
    """Parts that the clips' h_audio looks ahead, by what heard them. Raises UsageError where they differ, or from what is wanted."""
    said = {json.loads((clip.folder / "about.json").read_text(encoding="utf-8")).get("audio", "") for clip in clips}
    if len(said) > 1:
        raise UsageError("these clips were heard by different networks: run `headwire train prepare` again")
    digest, _, ahead = said.pop().rpartition("-")
    found = int(ahead) if digest and ahead.isdigit() else AHEAD
    if wanted not in (None, found):
        raise UsageError(
            f"the store's audio features look {found} parts ahead, not {wanted}: prepare with --ahead {wanted}"
        )
    return found


def _held_out(settings: HeadGANSettings) -> list[StoredClip]:
    """The clips to judge by; with audio, those that have sound."""
    try:
        clips = open_store(settings.store, "validation")
    except UsageError:
        return []
    return with_sound(clips) if settings.audio or settings.sounding else clips


class Judges(nn.Module):
    """D and D_m as one module. forward: their two inputs -> what each says."""

    def __init__(self, base: int, audio: int) -> None:
        super().__init__()
        self.whole = Discriminator(6, base)
        self.mouth = Discriminator(3 + audio, base)

    def forward(self, whole: Tensor, mouth: Tensor) -> tuple[list[Judged], list[Judged]]:
        return self.whole(whole), self.mouth(mouth)


class HeadGANTask(Task):
    """The generator, its discriminators and how they learn."""

    averaged = ("generator",)

    def __init__(self, settings: HeadGANSettings, parts: Group, held_out: list[StoredClip]) -> None:
        self.settings, self.held_out, self.device = settings, held_out, parts.device
        config = settings.config
        self.generator = HeadGANNet(config)
        self.modules = {"generator": self.generator}
        self.optimizers = {"generator": self._adam(self.generator)}
        self.vgg = perceptual_features(settings.features, settings.vgg19)
        if self.vgg is not None:
            self.vgg.to(parts.device)
        base = settings.judges or max(4, round(64 * settings.width))
        if settings.adversarial:
            self.judges = Judges(base, config.audio)
            self.modules["judges"] = self.judges
            self.optimizers["judges"] = self._adam(self.judges)
        kind = None if self.vgg is None else self.vgg.name
        said = asdict(config)
        if not config.audio:
            del said["ahead"]
        self.description = {"network": "headgan", **said, "sketches": settings.sketches, "features": kind}
        self.description |= {"judges": base if settings.adversarial else 0, "weights": asdict(settings.weights)}

    def _adam(self, module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), lr=self.settings.rate, betas=self.settings.betas)

    def step(self, batch: PairBatch, parallel: dict[str, Any]) -> dict[str, Tensor]:
        said: dict[str, Tensor] = {}
        painted, warped, _ = parallel["generator"](
            batch.references[:, 0], batch.reference_codes[:, 0], batch.window, batch.audio
        )
        total = self._pictures_terms(batch.driving, painted, warped, said)
        if self.settings.adversarial:
            self._teach_judges(batch, painted.detach(), parallel["judges"], said)
            total = total + self._judged_terms(batch, painted, said)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizers["generator"].step()
        return said

    def _pictures_terms(self, truth: Tensor, painted: Tensor, warped: Tensor, said: dict[str, Tensor]) -> Tensor:
        """L1 and VGG of Eq. 6-8, weighted; without F's decoder nothing is warped and its terms fall away."""
        weights, moved = self.settings.weights, self.settings.flow
        said["l1"] = losses.picture_l1(truth, painted)
        total = weights.l1 * said["l1"]
        if moved:
            said["l1_warped"] = losses.picture_l1(truth, warped)
            total = total + weights.l1 * said["l1_warped"]
        if self.vgg is not None:
            with torch.no_grad():
                real = self.vgg(truth)
            said["vgg"] = losses.perceptual(real, self.vgg(painted), WEIGHTS)
            total = total + weights.vgg * said["vgg"]
            if moved:
                said["vgg_warped"] = losses.perceptual(real, self.vgg(warped), WEIGHTS)
                total = total + weights.vgg * said["vgg_warped"]
        return total

    def _teach_judges(self, batch: PairBatch, painted: Tensor, judges: Any, said: dict[str, Tensor]) -> None:
        self.judges.requires_grad_(True)
        whole, mouth = judges(*self._inputs(batch, painted))
        said["d"] = losses.hinge_discriminator(*losses.split(whole))
        said["d_mouth"] = losses.hinge_discriminator(*losses.split(mouth))
        self.optimizers["judges"].zero_grad(set_to_none=True)
        (said["d"] + said["d_mouth"]).backward()  # type: ignore[no-untyped-call]
        self.optimizers["judges"].step()

    def _judged_terms(self, batch: PairBatch, painted: Tensor, said: dict[str, Tensor]) -> Tensor:
        """The adversarial terms and feature matching, of D and D_m; the judges themselves do not learn from it."""
        self.judges.requires_grad_(False)
        judged = [losses.split(x) for x in self.judges(*self._inputs(batch, painted))]
        said["adversarial"] = torch.stack([losses.hinge_generator(fake) for _, fake in judged]).sum()
        said["matching"] = torch.stack([losses.feature_matching(real, fake) for real, fake in judged]).sum()
        return said["adversarial"] + self.settings.weights.matching * said["matching"]

    @staticmethod
    def _inputs(batch: PairBatch, painted: Tensor) -> tuple[Tensor, Tensor]:
        """What D and D_m look at: the real pictures, then the painted ones."""
        code = batch.window[:, 6:]
        whole = torch.cat((whole_input(code, batch.driving), whole_input(code, painted)))
        mouths = [mouth_input(x, batch.mouth, batch.audio) for x in (batch.driving, painted)]
        return whole, torch.cat(mouths)

    @torch.no_grad()
    def pictures(self, batch: PairBatch, averages: dict[str, nn.Module]) -> Tensor:
        n = min(4, len(batch.driving))
        audio = None if batch.audio is None else batch.audio[:n]
        painted, warped, _ = averages["generator"](
            batch.references[:n, 0], batch.reference_codes[:n, 0], batch.window[:n], audio
        )
        rows = (batch.references[:n, 0], batch.window[:n, 6:] * 2 - 1, warped, painted, batch.driving[:n])
        return torch.cat([torch.cat(list(row.float()), 2) for row in rows], 1) / 2 + 0.5

    def validate(self, averages: dict[str, nn.Module]) -> dict[str, float]:
        if not self.held_out:
            return {}
        net = averages["generator"]

        def paint(batch: PairBatch) -> Tensor:
            batch = batch.to(self.device)
            out: Tensor = net(batch.references[:, 0], batch.reference_codes[:, 0], batch.window, batch.audio)[0]
            return out

        pairs = PairSettings(mirror=0, crop=0, colour=0, sketches=self.settings.sketches, audio=self.settings.audio)
        return validation_figures(paint, PairSource(self.held_out, pairs), self.settings.validation_step)


def main(arguments: Sequence[str] | None = None) -> None:
    """What ``torchrun -m training.headgan`` runs in every process."""
    command("Train HeadGAN.", (HeadGANSettings, LoopSettings), run, arguments, run=RUN, steps=500_000)


if __name__ == "__main__":
    main()

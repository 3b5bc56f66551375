"""Figures on held-out people, with the benchmark's own metric code: one photo, no motion, the paper's mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.metrics import Lpips, l1, psnr
from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.parameters import FrameParameters, Picture, ReferenceFrame
from codec.raster import rasterise
from models.generator import DrivingFrame, Generator
from models.headgan import HeadGAN
from training.pairs import Draw, PairBatch, PairSource
from training.pairs_store import StoredClip

BATCH = 4


def plain_draws(source: PairSource, step: int = 1) -> list[Draw]:
    """Every ``step``-th usable picture of every clip, from the clip's first usable photo, as it is."""
    window = np.array((1, 0, 0), np.float32)
    eye, zero = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    return [
        Draw(n, (int(clip.usable_references[0]),), int(picture), False, window, eye, zero)
        for n, clip in enumerate(source.clips)
        for picture in clip.usable[::step]
    ]


def as_pictures(x: Tensor) -> Any:
    """(B, 3, H, W) -1..1 -> (B, H, W, 3) uint8."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def figures(truth: Any, shown: Any, nets: dict[str, Lpips]) -> dict[str, Any]:
    """L1, PSNR and LPIPS of pictures, one number each."""
    out: dict[str, Any] = {"l1": l1(truth, shown), "psnr": psnr(truth, shown)}
    return out | {f"lpips_{name}": net(truth, shown) for name, net in nets.items()}


def lpips_nets() -> dict[str, Lpips]:
    """Both LPIPS networks; none where their weights cannot be fetched."""
    try:
        return {"alex": Lpips("alex"), "vgg": Lpips("vgg")}
    except HeadwireError:
        return {}


def validation_figures(paint: Callable[[PairBatch], Tensor], source: PairSource, step: int = 1) -> dict[str, float]:
    """Mean over people (each person counts the same) of L1, PSNR, LPIPS-Alex and LPIPS-VGG.

    paint: a batch -> (B, 3, 256, 256) pictures.
    """
    draws = plain_draws(source, step)
    nets = lpips_nets()
    by_person: dict[str, list[dict[str, Any]]] = {}
    for n in range(0, len(draws), BATCH):
        part = draws[n : n + BATCH]
        batch = source.gather(part)
        with torch.no_grad():
            found = figures(as_pictures(batch.driving), as_pictures(paint(batch)), nets)
        for i, draw in enumerate(part):
            by_person.setdefault(source.clips[draw.clip].identity, []).append({k: v[i] for k, v in found.items()})
    return _mean_over_people(by_person)


def generator_figures(make: Callable[[], Generator], clips: list[StoredClip], step: int = 1) -> dict[str, float]:
    """The same of any generator, through its own interface. make: a fresh one for each clip."""
    nets = lpips_nets()
    by_person: dict[str, list[dict[str, Any]]] = {}
    for clip in clips:
        for truth, shown in painted(make(), clip, step):
            found = figures(truth, shown, nets)
            by_person.setdefault(clip.identity, []).append({k: v[0] for k, v in found.items()})
    return _mean_over_people(by_person)


def painted(generator: Generator, clip: StoredClip, step: int = 1) -> Iterator[tuple[Picture, Picture]]:
    """Truth and painted picture of every ``step``-th usable picture of a clip; the generator sees every frame."""
    model = FaceModel.load()
    photo = int(clip.usable_references[0])
    fit = clip.fit["parameters"]
    first = FrameParameters.from_vector(fit[clip.reference_frames[photo]])
    generator.prepare(ReferenceFrame(0, np.array(clip.references[photo]), first, clip.fit["identity"]))
    wanted = {int(i) * clip.every: int(i) for i in clip.usable[::step]}
    for t in range(max(wanted) + 1):
        if not any(t + k in wanted for k in range(3)):
            continue
        frame = DrivingFrame(
            FrameParameters.from_vector(fit[t]), clip.vertices[t], rasterise(clip.vertices[t], model.triangles)
        )
        if isinstance(generator, HeadGAN) and "audio" in clip.fit:
            generator.listen(clip.fit["audio"][t])
        shown = generator.generate(frame)
        if t in wanted:
            yield np.array(clip.pictures[wanted[t]]), shown


class Frozen(Generator):
    """The photo itself, always: what every other generator must beat."""

    name = "frozen"

    def prepare(self, reference: ReferenceFrame) -> None:
        self._picture = reference.picture

    def generate(self, frame: DrivingFrame) -> Picture:
        return self._picture


def _mean_over_people(by_person: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    people = [{k: float(np.mean([row[k] for row in rows])) for k in rows[0]} for rows in by_person.values()]
    return {k: float(np.mean([person[k] for person in people])) for k in people[0]} if people else {}

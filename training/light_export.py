"""A run of ``light`` as the file that ships.

``python -m training.light_export`` writes ``models/weights/light.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.errors import UsageError
from models.light import WEIGHTS
from models.light_graph import FORMAT
from training import checkpoints
from training.export import LICENCE, quantised, written
from training.light_data import LightSource
from training.light_evaluation import load_run, measure, torch_paint
from training.light_network import LightNet, in_cells
from training.light_triples import open_triples
from training.options import program


@dataclass(frozen=True)
class LightExportSettings:
    """run: a run's folder. target: the file. step: of the validation frames every so many are measured for the note, 0: none.

    triples: folder. crops: that the run has seen in all, for the note. calibration: frames that tell the ranges for int8.
    """

    run: Path = Path("runs/light")
    target: Path = WEIGHTS
    step: int = 4
    triples: Path | None = None
    crops: int = 0
    calibration: int = 48


def export(settings: LightExportSettings) -> Path:
    """The averaged weights. Raises UsageError where the run has no checkpoint."""
    state = checkpoints.load(settings.run)
    if state is None:
        raise UsageError(f"no checkpoint in {settings.run}: train with `headwire train light` first")
    net = load_run(settings.run)
    notes: dict[str, Any] = {
        "learned from": "research-only, non-commercial clips of 159 people, none of them in training/held_out.tsv",
        "licence": LICENCE,
        "losses": "L1, differences of neighbours, LPIPS-Alex, LPIPS-VGG up to relu4_3, harm",
        "steps": state["step"],
        "crops": settings.crops,
        "network": asdict(net.config),
    }
    if settings.step:
        clips = open_triples(settings.triples, "validation")
        notes["validation"] = measure(torch_paint(net, LightSource(clips)), clips, settings.step)
    source = LightSource(open_triples(settings.triples))
    return export_net(net, settings.target, notes, input_ranges(net, source, settings.calibration))


def input_ranges(net: LightNet, source: LightSource, frames: int) -> dict[str, Tensor]:
    """``NAME.range`` -> (low, high) of what each convolution but the stem is given, the mean over frames of a frame's extremes.

    The stem sees colours and geometry of different scale, and stays in floating point.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    hooks = []

    def watch(name: str) -> Any:
        def seen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.setdefault(name, []).append((float(inputs[0].min()), float(inputs[0].max())))

        return seen

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and name != "stem":
            hooks.append(module.register_forward_pre_hook(watch(name)))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(frames):
            number = int(rng.integers(len(source.triples)))
            batch = source.whole(number, int(rng.integers(len(source.triples[number].frames["number"]))))
            net(in_cells(batch.shown), batch.geometry)
    for hook in hooks:
        hook.remove()
    ranges = {}
    for name, values in found.items():
        low, high = np.mean(values, 0)
        most = max(-float(low), float(high))
        ranges[f"{name}.range"] = torch.tensor((0.0, most) if low >= 0 else (-most, most * 127 / 128))
    return ranges


def export_net(
    net: LightNet, target: Path, provenance: dict[str, Any], ranges: dict[str, Tensor] | None = None
) -> Path:
    """A network as a safetensors file, written whole or not at all: kernels but the stem's in 8 bits, as int8 inference uses
    them, the rest in fp16. ranges: ``input_ranges``, for int8.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        if value.ndim == 4 and not name.startswith("stem"):
            tensors[name], tensors[f"{name}.scale"] = quantised(value.detach())
        else:
            tensors[name] = value.detach().half().contiguous()
    tensors |= {name: value.float().contiguous() for name, value in (ranges or {}).items()}
    notes = {"format": FORMAT, "provenance": json.dumps(provenance)}
    return written(tensors, target, notes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, and say where to."""
    program("Export light's averaged weights.", LightExportSettings, export, arguments)


if __name__ == "__main__":
    main()

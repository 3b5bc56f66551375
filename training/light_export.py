"""A run of ``light`` as the file that ships.

``python -m training.light_export`` writes ``models/weights/light.safetensors``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codec.errors import HeadwireError, UsageError
from models.light import WEIGHTS
from models.light_graph import FORMAT
from training import checkpoints
from training.export import LICENCE
from training.light_evaluation import load_run, measure, torch_paint
from training.light_network import LightNet
from training.options import parsed


@dataclass(frozen=True)
class LightExportSettings:
    """run: a run's folder. target: the file. step: of the validation frames every so many are measured for the note, 0: none.

    triples: folder. samples: crops that the run has seen in all, for the note; 0: steps times ``batch``.
    """

    run: Path = Path("runs/light")
    target: Path = WEIGHTS
    step: int = 4
    triples: Path | None = None
    batch: int = 8


def export(settings: LightExportSettings) -> Path:
    """The averaged weights as fp16. Raises UsageError where the run has no checkpoint."""
    state = checkpoints.load(settings.run)
    if state is None:
        raise UsageError(f"no checkpoint in {settings.run}: train with `headwire train light` first")
    net = load_run(settings.run)
    notes: dict[str, Any] = {
        "learned from": "research-only, non-commercial clips of 159 people, none of them in training/held_out.tsv",
        "licence": LICENCE,
        "losses": "L1, differences of neighbours, LPIPS-Alex, LPIPS-VGG up to relu4_3",
        "steps": state["step"],
        "crops": state["step"] * settings.batch,
        "network": asdict(net.config),
    }
    if settings.step:
        from training.light_data import LightSource
        from training.light_triples import open_triples

        clips = open_triples(settings.triples, "validation")
        notes["validation"] = measure(torch_paint(net, LightSource(clips)), clips, settings.step)
    return export_net(net, settings.target, notes)


def export_net(net: LightNet, target: Path, provenance: dict[str, Any]) -> Path:
    """A network as a safetensors file, written whole or not at all."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    notes = {"format": FORMAT, "provenance": json.dumps(provenance)}
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        save_file(tensors, str(partial), notes)
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, and say where to."""
    (settings,) = parsed("Export light's averaged weights.", (LightExportSettings,), arguments)
    try:
        print(export(settings))
    except HeadwireError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()

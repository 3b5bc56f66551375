"""A run of ``full`` as its generator's file: ``python -m training.full_export`` makes ``models/weights/full.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codec.errors import HeadwireError, UsageError
from models.full import WEIGHTS
from models.full_config import FORMAT, FullConfig
from models.full_network import FullNet
from training import checkpoints
from training.export import LICENCE, written
from training.options import program


@dataclass(frozen=True)
class FullExportSettings:
    """run: a run's folder. target: the file. kind: fp16 or fp32."""

    run: Path = Path("runs/full")
    target: Path = WEIGHTS
    kind: str = "fp16"


def export(settings: FullExportSettings) -> Path:
    """The averaged weights. Raises UsageError where the run has no checkpoint, HeadwireError where it is not of ``full``."""
    state = checkpoints.load(settings.run)
    if state is None:
        raise UsageError(f"no checkpoint in {settings.run}: train with `headwire train full` first")
    said = checkpoints.description(state)
    if said.get("network") != "full":
        raise HeadwireError(f"{settings.run} is a run of {said.get('network')}, not of full")
    net = FullNet(FullConfig(**{name: value for name, value in said.items() if name != "network"}))
    net.load_state_dict(state["averages"]["full"])
    notes: dict[str, Any] = {"steps": state["step"], "licence": LICENCE}
    figures = settings.run / "figures.json"
    if figures.is_file():
        notes["figures"] = json.loads(figures.read_text(encoding="utf-8"))
    return export_net(net, settings.target, notes, settings.kind)


def export_net(net: FullNet, target: Path, provenance: dict[str, Any], kind: str = "fp16") -> Path:
    """A network as a safetensors file, written whole or not at all."""
    if kind not in ("fp16", "fp32"):
        raise UsageError(f"weights cannot be exported as {kind!r}: choose fp16 or fp32")
    tensors = {
        name: (value.detach().cpu().half() if kind == "fp16" else value.detach().cpu().float()).contiguous()
        for name, value in net.state_dict().items()
    }
    notes = {
        "format": FORMAT,
        "config": json.dumps(asdict(net.config)),
        "provenance": json.dumps(provenance, default=str),
    }
    return written(tensors, target, notes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Export, and say where to."""
    program("Export full's averaged weights.", FullExportSettings, export, arguments)


if __name__ == "__main__":
    main()

"""``headgan-small``: a quarter of HeadGAN's width, trained on a CPU, and shipped only if it beats the frozen photo.

``python -m training.headgan_small`` does all of it, and goes on where it was stopped: trains (or goes on), exports, measures the
exported file and the photo itself on the held-out people, and puts the file into ``models/weights`` where its LPIPS is the better.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel
from models.headgan import HeadGAN
from models.zoo import WEIGHTS
from training import evaluation, headgan
from training.evaluation import Frozen
from training.export import export
from training.headgan import HeadGANSettings
from training.loop import LoopSettings
from training.options import parsed
from training.pairs_store import open_store

RUN = Path("runs/headgan-small")
DEFAULTS: dict[str, Any] = {
    "run": RUN,
    "steps": 20_000,
    "batch": 2,
    "width": 0.25,
    "features": "alex",
    "adversarial": False,
    "rate": 5e-4,
    "validation_step": 5,
    "validate_every": 0,
    "checkpoint_every": 200,
}
"""What a CPU can do: no discriminators, and AlexNet's features, a fiftieth of VGG's arithmetic."""

JUDGED_BY = "lpips_alex"


@dataclass(frozen=True)
class ShippingSettings:
    """target: where the weights go if they are good enough. kind: fp16 or int8."""

    target: Path = WEIGHTS / "headgan-small.safetensors"
    kind: str = "fp16"


def run(shipping: ShippingSettings, settings: HeadGANSettings, loop: LoopSettings) -> dict[str, Any]:
    """Train, measure, and ship or not: ``trained``, ``frozen`` and ``headgan-small`` with their figures, and ``shipped``, the file
    or None.

    Raises UsageError where there is nobody to judge by or LPIPS cannot be had, HeadwireError as ``training.headgan.run`` does.
    """
    judged = open_store(settings.store, "validation")
    if "alex" not in evaluation.lpips_nets():
        raise UsageError("what is shipped is judged by LPIPS, whose weights are not here: connect once to fetch them")
    trained = headgan.run(settings, loop)
    figures: dict[str, Any] = {"trained": trained, "shipped": None}
    if trained["step"] < loop.steps:
        return figures
    candidate = export(loop.run, loop.run / "candidate.safetensors", shipping.kind)
    face_model, step = FaceModel.load(), settings.validation_step
    figures["frozen"] = evaluation.generator_figures(Frozen, judged, step)
    figures["headgan-small"] = evaluation.generator_figures(lambda: HeadGAN(face_model, candidate, "cpu"), judged, step)
    if figures["headgan-small"][JUDGED_BY] < figures["frozen"][JUDGED_BY]:
        said = {"beats the frozen photo": {name: figures[name] for name in ("frozen", "headgan-small")}}
        figures["shipped"] = str(export(loop.run, shipping.target, shipping.kind, said))
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure, ship; print the figures."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    kinds = (ShippingSettings, HeadGANSettings, LoopSettings)
    shipping, settings, loop = parsed(
        "Train headgan-small, and ship it if it is worth it.", kinds, arguments, **DEFAULTS
    )
    try:
        figures = run(shipping, settings, loop)
    except HeadwireError as error:
        sys.exit(f"{error}")
    print(json.dumps(figures, indent=1))
    if figures["shipped"] is None and "frozen" in figures:
        print(
            f"not shipped: its {JUDGED_BY} is not below the frozen photo's; more --steps go on from here",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()

"""The ablations of Table 3, trained alike.

``python -m training.ablations --run runs/ablations --steps N`` trains the whole network and the three that lack a part,
one after the other with the same seed, samples and steps, and prints the table's rows. The ablation that needs no training,
the driver's identity in the mesh, is ``training.reenactment``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codec.errors import HeadwireError
from training.headgan import HeadGANSettings, run
from training.loop import LoopSettings
from training.options import parsed
from training.pairs_store import open_store

STEPS = 200_000
COLUMNS = ("l1", "psnr", "lpips_alex", "lpips_vgg")


@dataclass(frozen=True)
class Row:
    """A row of Table 3: its name there, and what it changes."""

    name: str
    settings: HeadGANSettings


def rows(whole: HeadGANSettings) -> list[Row]:
    """The four networks. With a ``whole`` network without audio, "w/o audio" is that network and is left out."""
    found = [
        Row("HeadGAN", whole),
        Row("w/o F's decoder", replace(whole, flow=False)),
        Row("w/o 3DMM (landmark sketches)", replace(whole, sketches=True)),
    ]
    if whole.audio:
        # On the same clips: those without sound would be more to learn from.
        found.append(Row("w/o audio", replace(whole, audio=False, sounding=True)))
    return found


def train_all(whole: HeadGANSettings, loop: LoopSettings) -> dict[str, dict[str, float]]:
    """Train every row in a folder of its own below ``loop.run``, or go on; row's name -> figures, also in ``table3.json``.

    Raises UsageError where there are no held-out clips to judge by.
    """
    open_store(whole.store, "validation")
    table = {}
    for row in rows(whole):
        folder = "".join(c if c.isalnum() else "_" for c in row.name.lower())
        table[row.name] = run(row.settings, replace(loop, run=loop.run / folder))
    loop.run.mkdir(parents=True, exist_ok=True)
    (loop.run / "table3.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return table


def as_text(table: dict[str, dict[str, float]]) -> str:
    """The table as lines."""
    lines = [f"{'':32s}" + "".join(f"{column:>12s}" for column in COLUMNS)]
    for name, figures in table.items():
        lines.append(f"{name:32s}" + "".join(f"{figures.get(column, float('nan')):12.4f}" for column in COLUMNS))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """One command for the whole table."""
    about = "Train the four networks of Table 3 alike and print its rows."
    whole, loop = parsed(about, (HeadGANSettings, LoopSettings), arguments, run=Path("runs/ablations"), steps=STEPS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        print(as_text(train_all(whole, loop)))
    except HeadwireError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()

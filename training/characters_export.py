"""A run of the character network as the file that ships, with what it hears: error rates and delays on real voices.

``python -m training.characters_export`` writes ``models/weights/characters.safetensors``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.audio_features import CLASSES, LOW, PART, RATE, low_level
from codec.errors import UsageError
from codec.parameters import Floats
from models.characters import FORMAT, LETTERS, WEIGHTS, CharacterNet, mel
from training import checkpoints, speech, speech_store
from training.characters import TESTS, collapsed, distance
from training.options import program
from training.sound import clip_samples

LICENCE = "MIT; the weights learned from synthesised speech and 700 sentences of GRID (CC BY 4.0)"


@dataclass(frozen=True)
class CharacterExportSettings:
    """run: a run's folder. target: the file. data: folder of the real voices. store: shards."""

    run: Path = Path("runs/characters")
    target: Path = WEIGHTS
    data: Path | None = None
    store: Path | None = None


def export(settings: CharacterExportSettings) -> Path:
    """The averaged weights as fp16. Raises UsageError where the run has no checkpoint or there is no real speech."""
    from safetensors.torch import save_file

    state = checkpoints.load(settings.run)
    if state is None:
        raise UsageError(f"no checkpoint in {settings.run}: run `python -m training.characters` first")
    if checkpoints.description(state).get("network") != "characters":
        raise UsageError(f"{settings.run} is not a run of the character network: choose another folder")
    net: dict[str, Tensor] = state["averages"]["net"]
    tensors = {name: value.half().contiguous() for name, value in net.items()}
    plain = np.ones(LOW + CLASSES, np.float32)
    target = settings.target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        notes = {"format": FORMAT}
        for name in ("mean", "deviation", "quiet"):
            tensors[f"mix.{name}"] = torch.from_numpy(plain * (name == "deviation"))
        save_file(tensors, str(partial), notes)
        rows, quiet = statistics(CharacterNet(partial), settings.data)
        tensors["mix.mean"] = torch.from_numpy(rows.mean(0))
        tensors["mix.deviation"] = torch.from_numpy(rows.std(0).clip(1e-6))
        tensors["mix.quiet"] = torch.from_numpy(quiet)
        provenance = {"steps": state["step"], "licence": LICENCE, **measured(CharacterNet(partial), settings)}
        save_file(tensors, str(partial), notes | {"provenance": json.dumps(provenance)})
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def statistics(net: CharacterNet, data: Path | None) -> tuple[Floats, Floats]:
    """(N, 111) rows of low-level numbers and logits over real speech (every tenth clip), and the (111,) of silence."""
    rows = [_row(net, clip_samples(path)) for path, *_ in list(speech.real(data))[::10]]
    if not rows:
        raise UsageError("there is no real speech to take means from: set HEADWIRE_DATA")
    return np.concatenate(rows), _row(net, np.zeros(500 * PART, np.float32))[-1]


def _row(net: CharacterNet, samples: Floats) -> Floats:
    whole = speech_store.trimmed(samples)
    return np.concatenate((low_level(whole), net.logits(mel(whole), net.begin())), 1)


def measured(net: CharacterNet, settings: CharacterExportSettings) -> dict[str, Any]:
    """Character error rates as shipped (fp16, numpy), and when GRID's letters come, after the start of their word."""
    folder = speech_store.store_directory(settings.store)
    out: dict[str, Any] = {}
    paths = {name: folder / f"{name}.npz" for name in TESTS[:2]} | {TESTS[2]: sorted(folder.glob("said_*.npz"))[-1]}
    for name, path in paths.items():
        shard = speech_store.load(path)
        wrong = sum(
            distance(collapsed(net.logits(m.astype(np.float32), net.begin())), x)
            for m, x in zip(shard.mels, shard.letters, strict=True)
        )
        out[f"cer_{name}"] = round(wrong / sum(map(len, shard.letters)), 4)
    out["delay_ms_median"], out["delay_ms_p90"] = delays(net, settings.data)
    return out


def delays(net: CharacterNet, data: Path | None) -> tuple[float | None, float | None]:
    """Median and 90th percentile, ms: from the start of a word of GRID's test sentences to the end of the part that
    writes its first letter.

    Only sentences that are written without a mistake count, since in others it is not known which letter is which.
    """
    late = []
    rows = [row for row in speech.real(data) if row[1].startswith("grid")][speech_store.GRID_TRAIN :]
    for path, _, text, times in rows:
        logits = net.logits(mel(speech_store.trimmed(clip_samples(path))), net.begin())
        best = logits.argmax(1)
        at = np.flatnonzero((best > 0) & (np.diff(best, prepend=0) != 0))
        if "".join(LETTERS[c - 1] for c in best[at]) != speech.plain(text):
            continue
        letter = 0
        for word in times.split(";"):
            name, span = word.split(":")
            late.append(1000 * ((at[letter] + 1) * PART / RATE - float(span.split("-")[0])))
            letter += len(speech.plain(name))
    if not late:
        return None, None
    return round(float(np.median(late)), 1), round(float(np.percentile(late, 90)), 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.characters_export``."""
    program("The character network's weights as a file.", CharacterExportSettings, export, arguments)


if __name__ == "__main__":
    main()

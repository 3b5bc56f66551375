"""What ``full`` learns from: ``light``'s triples, the same frames from further photos of the memory, and what was said.

``python -m training.full_triples``. Clips are encoded in turn with one photo and with a memory. Beside ``training.light_triples``'
files a folder has::

    others.npy   (N, K, 256, 256, 3) uint8: ``models.full.other_pictures``
    audio.npy    (N, 300) float32: h_audio, of silence where the clip has no sound
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio_features import AHEAD
from codec.errors import HeadwireError, UsageError
from codec.parameters import Floats, Picture
from models.characters import CharacterNet
from models.full import other_pictures
from training import dataset, light_triples
from training.light_triples import Kept, Triples, Watched
from training.options import parsed
from training.sound import Listener


@dataclass(frozen=True)
class FullTripleSettings:
    """folder: where to, None: ``full`` in the cache folder. passes, every, first, processes, split: as ``light``'s. photos_kbps: for
    photos and patches after the first, in every second pass. others: pictures from further photos. ahead: of h_audio, parts.
    """

    folder: Path | None = None
    passes: int = 2
    every: int = 5
    first: int = 0
    processes: int = 1
    split: str = "train"
    photos_kbps: float = 3.0
    others: int = 2
    ahead: int = AHEAD


@dataclass(frozen=True)
class FullTriples(Triples):
    """One clip and pass. others: pictures from further photos; ahead: parts that h_audio looks ahead."""

    others: int = 0
    ahead: int = AHEAD

    @cached_property
    def other(self) -> Any:
        """(N, K, 256, 256, 3) uint8."""
        return np.load(self.folder / "others.npy", mmap_mode="r")

    @cached_property
    def audio(self) -> Floats:
        """(N, 300) float32."""
        return np.asarray(np.load(self.folder / "audio.npy"), np.float32)


class _Kept(Kept):
    """heard: (T, 300) h_audio of all frames, or None for silence."""

    def __init__(self, others: int, heard: Floats | None, ahead: int) -> None:
        super().__init__()
        self._count, self._heard, self._ahead = others, heard, ahead
        self._others: list[Any] = []
        self._audio: list[Floats] = []

    def add(self, shown: Picture, truth: Picture, warp: Watched, number: int, kind: int) -> None:
        super().add(shown, truth, warp, number, kind)
        self._others.append(other_pictures(warp, warp.frame, shown, self._count))
        self._audio.append(CharacterNet().mix.silence() if self._heard is None else self._heard[number])

    def more(self, folder: Path) -> dict[str, Any]:
        np.save(folder / "others.npy", np.stack(self._others))
        np.save(folder / "audio.npy", np.stack(self._audio).astype(np.float32))
        return {"others": self._count, "ahead": self._ahead, "sound": self._heard is not None}


def triples_directory(folder: Path | None = None) -> Path:
    """The argument, else ``full`` in the cache folder."""
    return folder or dataset.cache_directory() / "full"


def open_triples(folder: Path | None = None, split: str = "train") -> list[FullTriples]:
    """What is there, by name. Raises UsageError as ``light``'s does, or where folders do not go together."""
    found = []
    try:
        plain = light_triples.open_triples(triples_directory(folder), split)
    except UsageError as error:
        raise UsageError(str(error).replace("training.light_triples", "training.full_triples")) from error
    for triples in plain:
        about = json.loads((triples.folder / "about.json").read_text(encoding="utf-8"))
        if "others" not in about:
            raise UsageError(f"{triples.folder} was made for light: run training.full_triples into another folder")
        found.append(FullTriples(triples.folder, triples.identity, about["others"], about["ahead"]))
    if len({(triples.others, triples.ahead) for triples in found}) > 1:
        raise UsageError(
            f"the triples in {triples_directory(folder) / split} were made with different settings: remove some"
        )
    return found


def make(clip: dataset.Clip, target: Path, number: int, settings: FullTripleSettings) -> str:
    """One pass over one clip; returns why not, or an empty string."""
    if (target / "about.json").is_file():
        return ""
    judged = settings.split != "train"
    try:
        count = sum(1 for _ in dataset.frames(clip.path))
        heard = Listener(settings.ahead).arrays(clip.path, count).get("audio")
    except HeadwireError as error:
        return str(error)
    photos_kbps = settings.photos_kbps if number % 2 else 0.0
    kept = _Kept(settings.others, heard, settings.ahead)
    return light_triples.make(clip, target, number, settings.every, judged, photos_kbps, kept)


def _make(job: tuple[dataset.Clip, Path, int, FullTripleSettings]) -> str:
    return make(*job)


def run(settings: FullTripleSettings) -> dict[str, str]:
    """Make what is missing. Returns the clips that were skipped, and why."""
    split: dataset.Split = "train" if settings.split == "train" else "validation"
    base = triples_directory(settings.folder) / split
    numbers = range(settings.first, settings.first + settings.passes)
    clips = dataset.clips(split=split)
    jobs = [(clip, base / f"{clip.name}.{number}", number, settings) for number in numbers for clip in clips]
    return light_triples.made(_make, jobs, settings.processes)


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.full_triples``."""
    (settings,) = parsed("Paint what full learns from.", (FullTripleSettings,), arguments)
    try:
        skipped = run(settings)
    except HeadwireError as error:
        sys.exit(f"{error}")
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")


if __name__ == "__main__":
    main()

"""Speech made ready for the character network: shards of log-mels with their letters, each written whole or not at all.

``python -m training.speech_store --text FOLDER`` says ``hours`` of sentences (``training.speech``) into
``cache/speech`` and adds the real voices. Run again, it goes on with the next shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.audio_features import PART, RATE
from codec.parameters import Floats
from models.characters import LETTERS, mel
from training import speech
from training.dataset import cache_directory
from training.options import program
from training.sound import clip_samples

SHARD_SECONDS = 900.0
GRID_TRAIN = 700
"""GRID sentences (in the index's order) that are trained on; the rest and all of ``read`` are for testing."""


@dataclass(frozen=True)
class SpeechSettings:
    """text: English text, a file or a folder. words: a word list. hours: of synthesised speech. data, store:
    folders.
    """

    text: Path = Path("/usr/share/games/fortunes")
    words: Path = Path("/usr/share/dict/american-english")
    hours: float = 10.0
    seed: int = 0
    data: Path | None = None
    store: Path | None = None


@dataclass(frozen=True)
class Shard:
    """Utterances. mels: each (T, 160) float16. letters: each (L,) uint8, classes 1..26."""

    mels: list[NDArray[np.float16]]
    letters: list[NDArray[np.uint8]]


def classes(text: str) -> NDArray[np.uint8]:
    """A text as classes of the network."""
    return np.array([1 + LETTERS.index(c) for c in speech.plain(text)], np.uint8)


def fits(letters: NDArray[np.uint8], parts: int) -> bool:
    """Whether CTC can write them: a part a letter, and one between equal ones."""
    return len(letters) > 0 and len(letters) + int((np.diff(letters) == 0).sum()) < parts


def trimmed(samples: Floats) -> Floats:
    """Whole parts."""
    return samples[: len(samples) // PART * PART]


def save(path: Path, utterances: Iterable[tuple[Floats, str]]) -> int:
    """Samples and texts -> a shard; returns how many went in."""
    mels, letters = [], []
    for samples, text in utterances:
        said, row = classes(text), mel(trimmed(samples)).astype(np.float16)
        if fits(said, len(row)):
            mels.append(row)
            letters.append(said)
    arrays: dict[str, Any] = {"mels": np.concatenate(mels), "letters": np.concatenate(letters)}
    arrays["parts"], arrays["lengths"] = np.array([len(m) for m in mels]), np.array([len(x) for x in letters])
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(path)
    return len(mels)


def load(path: Path) -> Shard:
    """A shard of ``save``."""
    with np.load(path) as file:
        mels = np.split(file["mels"], np.cumsum(file["parts"])[:-1])
        letters = np.split(file["letters"], np.cumsum(file["lengths"])[:-1])
    return Shard(mels, letters)


def store_directory(store: Path | None) -> Path:
    """Where shards are: the argument, else ``speech`` in the cache folder."""
    return store or cache_directory() / "speech"


def build(settings: SpeechSettings) -> Path:
    """Make what is missing of the store. Raises UsageError where a synthesiser, a text or the words are missing."""
    folder = store_directory(settings.store)
    folder.mkdir(parents=True, exist_ok=True)
    words = speech.dictionary(settings.words)
    found = speech.sentences(settings.text, words)
    voices, listed = speech.Voices(), sorted(words)
    for number in range(round(settings.hours * 3600 / SHARD_SECONDS)):
        path = folder / f"said_{number:03d}.npz"
        if not path.exists():
            save(path, _said(found, listed, voices, np.random.default_rng((settings.seed, number))))
    rows = list(speech.real(settings.data))
    grid = [row for row in rows if row[1].startswith("grid")]
    parts: dict[str, Sequence[Any]] = {"grid_train": grid[:GRID_TRAIN], "grid_test": grid[GRID_TRAIN:]}
    parts["read_test"] = [row for row in rows if row[1] == "read"]
    for name, chosen in parts.items():
        path = folder / f"{name}.npz"
        if not path.exists() and chosen:
            save(path, ((clip_samples(row[0]), row[2]) for row in chosen))
    (folder / "about.json").write_text(json.dumps({"sentences": len(found), "hours": settings.hours}), encoding="utf-8")
    return folder


def _said(
    found: list[str], words: list[str], voices: speech.Voices, rng: np.random.Generator
) -> Iterable[tuple[Floats, str]]:
    seconds = 0.0
    while seconds < SHARD_SECONDS:
        spoken = voices.say(speech.lines(found, words, rng), rng)
        if spoken is not None and len(spoken.samples) > PART:
            samples = speech.roughened(spoken.samples, rng)
            seconds += len(samples) / RATE
            yield samples, spoken.text


def main(arguments: Sequence[str] | None = None) -> None:
    """``python -m training.speech_store``."""
    program("Speech for the character network.", SpeechSettings, build, arguments)


if __name__ == "__main__":
    main()

"""``python -m training.prepare``: videos -> the store that every network trains from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codec.audio_features import AHEAD
from codec.errors import HeadwireError
from training import dataset
from training.options import parsed
from training.pairs_store import StoreSettings, folder_clips, prepare, store_directory
from training.sound import Listener

PHOTO = 7500


@dataclass(frozen=True)
class PrepareSettings:
    """Which videos. folder: VoxCeleb's layout or any folder of videos, None is the project's own clips (``--data``).

    kept_out: a file with one identity a line, who are for validation. store: where to. audio: features of their sound,
    too; ahead: parts of 40 ms that these look ahead, 4 in the paper, 0 for a network that must not wait.
    """

    folder: Path | None = None
    kept_out: Path | None = None
    data: Path | None = None
    store: Path | None = None
    audio: bool = True
    ahead: int = AHEAD


def run(settings: PrepareSettings, store: StoreSettings, progress: bool = True) -> dict[str, str]:
    """Prepare training and validation clips; the latter have one photo of 7.5 kB, of their first frame, as the paper's
    mode has. Returns what was skipped, and why.
    """
    if settings.folder is None:
        clips = dataset.clips(settings.data)
    else:
        lines = settings.kept_out.read_text(encoding="utf-8").split() if settings.kept_out else []
        clips = folder_clips(settings.folder, lines)
    judged = replace(store, reference_every=sys.maxsize, budget=(PHOTO, PHOTO))
    audio = Listener(settings.ahead) if settings.audio else None
    progress_line = _show if progress else None
    skipped: dict[str, str] = {}
    for split, how in (("train", store), ("validation", judged)):
        chosen = [clip for clip in clips if clip.split == split]
        if chosen:
            skipped |= prepare(chosen, settings.store, how, audio, settings.folder, progress_line)
    return skipped


def _show(done: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {count} clips", end="\n" if done == count else "", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare, and say what was skipped."""
    settings, store = parsed("Prepare clips for training.", (PrepareSettings, StoreSettings), arguments)
    try:
        skipped = run(settings, store)
    except HeadwireError as error:
        sys.exit(f"{error}")
    for name, why in skipped.items():
        print(f"skipped {name}: {why}")
    print(f"prepared in {store_directory(settings.store)}")


if __name__ == "__main__":
    main()

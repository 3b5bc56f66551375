"""What ``headwire train`` can make, by name."""

from __future__ import annotations

from pathlib import Path

from codec.errors import UsageError

TRAININGS = ("prepare", "face-model", "entropy")


def run_training(name: str, data: Path | None) -> None:
    """Run one. Raises UsageError for an unknown name, or where the clips are not there."""
    if name == "prepare":
        from training import dataset

        dataset.prepare(data)
    elif name == "face-model":
        from training import face_model

        print(face_model.run(data))
    elif name == "entropy":
        from training import entropy

        print(entropy.run())
    else:
        raise UsageError(f"nothing to train is called {name!r}: choose one of {', '.join(TRAININGS)}")

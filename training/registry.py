"""What ``headwire train`` can make, by name."""

from __future__ import annotations

from pathlib import Path

from codec.errors import UsageError

TRAININGS = ("prepare", "face-model", "entropy", "motion", "headgan", "light")


def run_training(name: str, data: Path | None) -> None:
    """Run one. Raises UsageError for an unknown name, or where the clips are not there."""
    if name == "prepare":
        from training import dataset, prepare
        from training.pairs_store import StoreSettings

        dataset.prepare(data)
        for what, why in prepare.run(prepare.PrepareSettings(data=data), StoreSettings()).items():
            print(f"skipped {what}: {why}")
    elif name == "face-model":
        from training import face_model

        print(face_model.run(data))
    elif name == "entropy":
        from training import entropy

        print(entropy.run())
    elif name == "motion":
        from training import motion

        motion.run()
    elif name == "headgan":
        from training import headgan

        headgan.main([])
    elif name == "light":
        from training import light, light_triples

        for split in ("validation", "train"):
            for what, why in light_triples.run(light_triples.TripleSettings(split=split)).items():
                print(f"skipped {what}: {why}")
        light.main([])
    else:
        raise UsageError(f"nothing to train is called {name!r}: choose one of {', '.join(TRAININGS)}")

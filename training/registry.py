"""What ``headwire train`` can make, by name."""

from __future__ import annotations

from pathlib import Path

from codec.errors import UsageError

TRAININGS = (
    "prepare",
    "face-model",
    "falloff",
    "entropy",
    "motion",
    "characters",
    "headgan",
    "headgan-small",
    "ablations",
    "reenactment",
    "light",
    "full",
)


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
    elif name == "falloff":
        from training import falloff

        falloff.main([])
    elif name == "entropy":
        from training import entropy

        print(entropy.run())
    elif name == "motion":
        from training import motion

        motion.run()
    elif name == "characters":
        from training import characters, characters_export, speech_store

        speech_store.main([])
        characters.main([])
        characters_export.main([])
    elif name == "headgan":
        from training import headgan

        headgan.main([])
    elif name == "headgan-small":
        from training import headgan_small

        headgan_small.main([])
    elif name == "ablations":
        from training import ablations

        ablations.main(["--audio"])
    elif name == "reenactment":
        from training import reenactment

        reenactment.main([])
    elif name == "light":
        from training import light, light_triples

        for split in ("validation", "train"):
            for what, why in light_triples.run(light_triples.TripleSettings(split=split)).items():
                print(f"skipped {what}: {why}")
        light.main([])
    elif name == "full":
        from training import full, full_triples

        for split in ("validation", "train"):
            for what, why in full_triples.run(full_triples.FullTripleSettings(split=split)).items():
                print(f"skipped {what}: {why}")
        full.main([])
    else:
        raise UsageError(f"nothing to train is called {name!r}: choose one of {', '.join(TRAININGS)}")

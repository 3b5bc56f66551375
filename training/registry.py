"""What ``headwire train`` can make, by name."""

from __future__ import annotations

from pathlib import Path

from codec.errors import UsageError

TRAININGS = ("prepare", "face-model", "falloff", "entropy", "motion", "characters", "headgan", "light", "full")


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
    elif name in ("light", "full"):
        from training import light, light_triples

        for split in ("validation", "train"):
            for what, why in light_triples.run(light_triples.TripleSettings(split=split)).items():
                print(f"skipped {what}: {why}")
        light.main([] if name == "light" else full_options())
    else:
        raise UsageError(f"nothing to train is called {name!r}: choose one of {', '.join(TRAININGS)}")


def full_options() -> list[str]:
    """The options of ``training.light`` that make it train ``full``."""
    from models import full

    size = {"run": "runs/full", "fine": full.FINE, "coarse": full.COARSE, "blocks": full.BLOCKS, "middle": full.MIDDLE}
    return [word for key, value in size.items() for word in (f"--{key}", str(value))]

"""Writes ``parameters.json``: packets of every rung and the exact integers they decode to. To be run when the tables change.

python -m tests.golden.make_parameters
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import Floats
from codec.quantiser import UNIT, Tables, to_z

PATH = Path(__file__).with_name("parameters.json")
FRAMES = 80


def call(seed: int = 7, frames: int = FRAMES) -> Floats:
    """(frames, 35) an invented call: a head that wanders and turns, a face that moves now and then."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(frames, 35)) * (rng.random((frames, 1)) < 0.7), axis=0)
    spread = np.concatenate((np.full(28, 0.12), [0.3, 0.01, 0.01, 0.006, 0.8, 0.6, 0.0]))
    home = np.concatenate((np.zeros(28), [80.0, 0.05, -0.1, 0.02, 128.0, 136.0, 0.0]))
    return (home + walk * spread).astype(np.float32)


def packets(rung: str, tables: Tables) -> tuple[list[int], list[tuple[bytes, tuple[int, int] | None]]]:
    """The reference's integers, and the packets of the invented call with the key that the sender then knows as stored."""
    vectors = call()
    reference = np.rint(to_z(vectors[0], tables) * UNIT).astype(np.int64)
    encoder, decoder = ParameterEncoder(rung, tables), ParameterDecoder(tables)
    encoder.set_reference(reference)
    decoder.keys.set_reference(reference)
    out: list[tuple[bytes, tuple[int, int] | None]] = []
    for t, vector in enumerate(vectors):
        window = (0, 0, 0) if t < 60 else (-12, 34, 512)
        data = encoder.encode(vector, 0.0 if t % 31 == 30 else 1.0, window)
        if data is not None:
            stored = decoder.decode(data).stored
            if stored is not None:
                encoder.acknowledge(*stored)
            out.append((data, stored))
    return reference.tolist(), out


def main() -> None:
    """Write the file."""
    tables = Tables.load()
    golden: dict[str, Any] = {"tables": tables.digest.hex(), "rungs": {}}
    for name in tables.names:
        reference, sent = packets(name, tables)
        decoder = ParameterDecoder(tables)
        decoder.keys.set_reference(np.array(reference))
        rows = []
        for data, _ in sent:
            p = decoder.decode(data)
            rows.append({
                "bytes": data.hex(), "rung": p.rung, "sequence": p.sequence, "slot": p.slot, "window": list(p.window),
                "stored": list(p.stored) if p.stored else None,
                "frames": [{"role": f.role, "confidence": f.confidence, "values": f.values.tolist()} for f in p.frames],
            })  # fmt: skip
        golden["rungs"][name] = {"reference": reference, "packets": rows}
    PATH.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

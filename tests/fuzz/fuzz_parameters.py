"""Mutated parameter packets by the million: python -m tests.fuzz.fuzz_parameters [COUNT]. Not part of the suite.

Golden packets are flipped, cut, spliced, overwritten and lengthened; whatever comes of it must decode or raise BitstreamError,
quickly, and leave the keys within their limits.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from codec.errors import BitstreamError
from codec.parameter_codec import LARGEST, SLOTS, Key, ParameterDecoder, ParameterPacket
from codec.parameters import PARAMETERS
from codec.quantiser import LIMIT
from codec.reconstruction import Reconstruction
from tests.golden.make_parameters import PATH


def mutated(rng: np.random.Generator, corpus: list[bytes]) -> bytes:
    """A packet with one to three changes."""
    data = bytearray(corpus[rng.integers(len(corpus))])
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(5)
        at = int(rng.integers(len(data))) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and data:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:] = corpus[rng.integers(len(corpus))][at:]
        else:
            data += rng.bytes(int(rng.integers(1, 30)))
    return bytes(data)


def timed(decoder: ParameterDecoder, data: bytes) -> tuple[ParameterPacket | None, float]:
    """What the bytes decode to, None if they are refused, and the seconds of processor time."""
    begin = time.process_time()
    try:
        packet: ParameterPacket | None = decoder.decode(data)
    except BitstreamError:
        packet = None
    return packet, time.process_time() - begin


def main(count: int = 1_000_000, seed: int = 1) -> None:
    """Run and report."""
    golden = json.loads(PATH.read_text())
    corpus = [bytes.fromhex(row["bytes"]) for rung in golden["rungs"].values() for row in rung["packets"]]
    rng, decoder = np.random.default_rng(seed), ParameterDecoder()
    for slot in range(SLOTS):
        decoder.keys[slot] = Key(np.array(next(iter(golden["rungs"].values()))["reference"], np.int64))
    decoder.decode(corpus[0])
    reconstruction = Reconstruction()
    decoded, slowest, started = 0, 0.0, time.perf_counter()
    for _ in range(count):
        data = mutated(rng, corpus)
        packet, spent = timed(decoder, data)
        decoded += packet is not None
        if spent > slowest:
            slowest = max(slowest, min(spent, *(timed(decoder, data)[1] for _ in range(3))))
        if packet is not None:
            assert max(int(np.abs(f.values).max()) for f in packet.frames if f.role == 0) <= LARGEST
            assert all(np.isfinite(s.z).all() for s in reconstruction.push(packet, lost=int(rng.integers(20))))
            for slot in range(SLOTS):
                key = decoder.keys[slot]
                assert key is not None
                assert key.values.shape == (PARAMETERS,)
                assert np.abs(key.values).max() <= LIMIT
    print(
        f"{count} packets, {decoded} decoded, {count - decoded} refused, slowest {1000 * slowest:.2f} ms, "
        f"{time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:2]))

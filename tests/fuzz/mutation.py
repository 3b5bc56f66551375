"""Changes of bytes that a plain mutation loop makes: flips, overwrites, cuts, splices, repeats, lengths, appended noise."""

from __future__ import annotations

import random
from collections.abc import Sequence

_TELLING = (b"\0", b"\xff", b"\x7f\xff", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\0\0\0")


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus with one to three changes."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(7)
        at = rng.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:] = rng.choice(corpus)[at:]
        elif kind == 4:
            data[at:at] = data[at : at + rng.randint(1, 60)] * rng.randint(1, 8)
        elif kind == 5:
            telling = rng.choice(_TELLING)
            data[at : at + len(telling)] = telling
        else:
            data += rng.randbytes(rng.randint(1, 30))
    return bytes(data)

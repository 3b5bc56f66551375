"""Writes ``memory.json``: ``python -m tests.golden.make_memory``. Needed again when the format of updates or of fits changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from codec.motion import Change, encode_motion
from codec.parameter_codec import encode_fit
from codec.parameters import FrameParameters, Region, Window
from codec.photo_update import WHOLE, Rectangle, read_update, update_message
from codec.quantiser import quantise
from codec.still import decode_still, encode_still
from tests.test_motion import numbers

ROWS, COLUMNS = np.mgrid[:256, :256]
STILL = np.stack((COLUMNS, ROWS, 128 + 60 * np.sin(COLUMNS / 9)), 2).astype(np.uint8)
PLAN = (
    (1, 0, 0, Region.WHOLE, WHOLE, Window(), True, False),
    (30, 1, 3, Region.EYES, Rectangle(64, 72, 128, 56), Window(2.5, -1.0, 1.1), False, False),
    (8, 30, 255, Region.MOUTH, Rectangle(240, 0, 16, 256), Window(), True, False),
    (7, 1, 4, Region.WHOLE, WHOLE, Window(), False, True),
)


def main() -> None:
    rng = np.random.default_rng(11)
    out: list[dict[str, Any]] = []
    for n, (photo_id, base, version, region, box, window, moves, stands) in enumerate(PLAN):
        vector = np.concatenate((rng.normal(size=28), [100, 0.1, -0.2, 0.05, 120, 130, 0])).astype(np.float32)
        parameters = FrameParameters.from_vector(vector, window)
        motion = encode_motion(Change(numbers(n, 0.04, 2), 4, mouth=12), 0, base) if moves else b""
        still = encode_still(STILL[: box.height, : box.width], 40)
        message = update_message(
            photo_id, base, version, region, box, parameters, encode_fit(quantise(vector)), motion, still, stands
        )
        read = read_update(message)
        out.append(
            {
                "message": message.hex(),
                "still": still.hex(),
                "photo_id": photo_id,
                "base_id": base,
                "identity_version": version,
                "region": int(region),
                "stands": read.still,
                "rectangle": [box.left, box.top, box.width, box.height],
                "fit": read.fit.tolist(),
                "control": None if read.field is None else read.field.control.reshape(-1).tolist(),
                "mouth": None if read.field is None else read.field.mouth,
                "mean": decode_still(still, box.width, box.height).mean((0, 1)).round(2).tolist(),
            }
        )
    Path(__file__).with_name("memory.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()

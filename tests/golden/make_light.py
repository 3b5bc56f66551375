"""Writes ``light.json``: ``python -m tests.golden.make_light``. Needed again when the format of light messages changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from codec.light import light_message, lit

PLAN = ((0, (0, 0, 0)), (7, (-9, 3, 40)), (255, (-40, 1, -1)))


def main() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    out = [
        {
            "message": light_message(photo_id, light).hex(),
            "photo_id": photo_id,
            "light": list(light),
            "shown": lit(grey, light)[0].T.tolist(),
        }
        for photo_id, light in PLAN
    ]
    Path(__file__).with_name("light.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()

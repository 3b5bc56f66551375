"""Where files that were fetched or computed once are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """HEADWIRE_CACHE, or XDG_CACHE_HOME/headwire, or ~/.cache/headwire. It need not exist yet."""
    if chosen := os.environ.get("HEADWIRE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headwire"

"""OpenVINO's core: one a process, which stays until the process ends.

Each core of OpenVINO's CPU plugin gives the thread that made it an alternate stack for signals and unmaps it when the
core goes. Let go on another thread, or before a core that was made earlier, it leaves that thread with a stack that
is no longer there, and the next signal that Python handles (Ctrl-C, a termination) ends the process with a
segmentation fault instead (seen with OpenVINO 2026.4 on Linux). A core that never goes leaves nothing behind.
"""

from __future__ import annotations

import threading
from typing import Any

from codec.errors import HeadwireError

_made: list[Any] = []
_making = threading.Lock()


def core() -> Any:
    """The process' ``openvino.Core``. Raises HeadwireError where the package is missing."""
    with _making:
        if not _made:
            try:
                import openvino
            except ImportError as error:
                raise HeadwireError("the package openvino is missing: run 'make setup'") from error
            _made.append(openvino.Core())
        return _made[0]

"""OpenVINO's one core of a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from models import inference

# Two networks, let go on another thread in the order in which they were made: with a core each, the signal would be
# delivered on a stack that is gone and kill the process.
_SCRIPT = """
import gc, signal, sys, threading
from models.light import LightPainter
networks = [LightPainter() for _ in range(2)]
def let_go():
    while networks:
        del networks[0]
    gc.collect()
thread = threading.Thread(target=let_go)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.raise_signal(signal.SIGTERM)
"""


def test_one_core_a_process() -> None:
    assert inference.core() is inference.core()


def test_a_signal_after_networks_are_gone_is_handled() -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=root, capture_output=True, timeout=60, check=False)
    assert done.returncode == 7, signal.Signals(-done.returncode) if done.returncode < 0 else done.stderr

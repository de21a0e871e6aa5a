"""An evaluation or a pipeline ends when it is told to."""

from __future__ import annotations

import signal
import threading
from typing import Any

import lightning as L


class EndOnSignal(L.Callback):
    """SIGTERM does what it did when this was made, which is to end the process unless somebody has said otherwise.

    Lightning takes the signal and waits for the end of the batch; one of captions takes minutes. What evaluations and
    stages have written is kept as they go, so nothing is lost. (A training saves first: see StopOnSignal.)
    """

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGTERM)

    def on_test_start(self, *args: Any) -> None:
        """Lightning's handler is in place by now."""
        self._restore()

    def on_predict_start(self, *args: Any) -> None:
        """As for a test."""
        self._restore()

    def _restore(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

"""What a DataLoader's worker process does when it starts."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals_to_main(worker_id: int) -> None:
    """A `worker_init_fn`: ignores SIGUSR1, SIGUSR2, and SIGTERM unless its main process sent it.

    A cluster signals every process of a job; the main process then finishes its step, for which it needs its workers.
    What it tells them itself they obey, or it would wait for them for ever when it ends.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_main, daemon=True).start()


def _obey_main() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

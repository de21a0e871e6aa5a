"""A command of the warm process is to its parent what a real one is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import patience
from warm_python import warm

pytestmark = pytest.mark.processes


def outcome(python: str, code: str, folder: Path, **settings: object) -> tuple[int, str, list[str]]:
    done = subprocess.run([python, "-c", code, "a b"], cwd=folder, capture_output=True, text=True, **settings)
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize(
    "code",
    [
        "import os, sys; print(sys.argv, os.getcwd(), sys.stdin.read())",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('in words')",
        "raise ValueError('x')",
        "raise KeyboardInterrupt",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os.kill(os.getpid(), 15)",
        "import atexit; atexit.register(print, 'bye'); print('hello')",
    ],
)
def test_it_ends_as_a_real_one(tmp_path, code):
    assert outcome(warm.python(), code, tmp_path, input="x") == outcome(sys.executable, code, tmp_path, input="x")


def test_it_has_imported_the_libraries_and_nothing_of_ours(tmp_path):
    code = "import sys; print('torch' in sys.modules, any(m.split('.')[0] == 'diptych' for m in sys.modules))"
    assert outcome(warm.python(), code, tmp_path)[1] == "True False\n"


def started(code: str) -> subprocess.Popen:
    process = subprocess.Popen([warm.python(), "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_signals_reach_it():
    code = "import signal, time; signal.signal(15, lambda *_: exit(7)); print('ready', flush=True); time.sleep(3600)"
    process = started(code)
    process.terminate()
    assert process.wait(patience.SECONDS) == 7
    process.stdout.close()


def test_a_kill_takes_it_along():
    process = started("import time; print('ready', flush=True); time.sleep(3600)")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stdout.read() == ""  # returns when nobody holds the pipe
    process.stdout.close()


def test_what_libraries_set_while_they_are_imported_is_no_other_variable(tmp_path, monkeypatch):
    """cv2 sets LD_LIBRARY_PATH, scikit-learn KMP_INIT_AT_FORK: whoever has imported them may ask all the same."""
    import sentence_transformers  # noqa: F401

    assert "KMP_INIT_AT_FORK" in os.environ
    assert outcome(warm.python(), "import sys; print('torch' in sys.modules)", tmp_path)[1] == "True\n"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert outcome(warm.python(), "import sys; print('torch' in sys.modules)", tmp_path)[1] == "False\n"

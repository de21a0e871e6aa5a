"""`import diptych` costs nothing and offers two functions; each says what it needs."""

import subprocess
import sys

import pytest

import diptych


def test_importing_is_fast_and_typing_a_dot_shows_both():
    script = (
        "import time; start = time.process_time(); import diptych; print(time.process_time() - start, *dir(diptych))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    seconds, *names = output.split()
    assert float(seconds) < 0.1
    shown = [name for name in names if not name.startswith("_")]
    assert shown == ["load_captioner", "load_retriever"]
    with pytest.raises(AttributeError, match="module 'diptych' has no attribute 'load_fuser'"):
        _ = diptych.load_fuser


def test_both_are_documented_with_an_example():
    for function in (diptych.load_captioner, diptych.load_retriever):
        assert f"diptych.{function.__name__}(" in function.__doc__ and "Raises:" in function.__doc__

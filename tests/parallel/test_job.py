"""Whose end a process of a job follows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from diptych.parallel import job

WATCHES = """
import os, sys
from types import SimpleNamespace
from diptych.parallel import job

followed = []
thread = lambda target, args, daemon: SimpleNamespace(start=lambda: followed.append(args[0]))
job.threading = SimpleNamespace(Thread=thread)
job.watch_processes()
assert followed in ([], [os.getppid()])
print(len(followed))
"""


@pytest.mark.parametrize(
    ("given", "follows"),
    [
        ({}, False),
        ({"LOCAL_RANK": "1"}, False),  # set by hand, of a shell that may go away
        ({job._STARTER: "1"}, False),  # handed on by a process between
        ({job._STARTER: str(os.getpid()), "LOCAL_RANK": "1"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0"}, True),
    ],
)
def test_a_process_follows_one_that_has_started_it_for_a_job_and_no_shell(given, follows):
    names = (job._STARTER, "LOCAL_RANK", "TORCHELASTIC_RUN_ID")
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    assert subprocess.check_output([sys.executable, "-c", WATCHES], env=environment, text=True) == f"{follows:d}\n"

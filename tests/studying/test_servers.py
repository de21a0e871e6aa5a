"""Servers of studies, as real processes."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from instant_steps import planned_from

import patience
from diptych.storage.run_status import read_status
from diptych.studying.plan import WrittenStep, arms_and_steps
from diptych.studying.servers import Servers, said_by
from diptych.studying.steps import Steps

pytestmark = pytest.mark.processes

SERVE = WrittenStep("serve", ("seed=<seed>", "latency_s=0"), "serve")
ASK = WrittenStep("pipeline", ("base_url=<serve>",), "pipeline")


def steps_in(folder):
    arms, steps = arms_and_steps([], {"a": [SERVE, ASK]}, [0], "study/x.yaml")
    study = planned_from(arms, steps)
    return study.steps, Steps(study, folder)


def test_a_server_lives_until_nobody_needs_it_and_its_address_is_in_no_plan(tmp_path):
    planned, steps = steps_in(tmp_path)
    with Servers(steps) as servers:
        servers.start(planned["a_0_serve"])
        address = servers.addresses["a_0_serve"]
        assert urllib.request.urlopen(f"{address.removesuffix('/v1')}/count").status == 200
        assert steps.words(planned["a_0_pipeline"], servers.addresses) == [f"base_url='{address}'"]
        servers.start(planned["a_0_serve"])
        assert servers.addresses == {"a_0_serve": address}  # it is the same one
        servers.keep({"a_0_serve"})
        assert servers.addresses
        servers.keep(set())
        assert not servers.addresses
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{address.removesuffix('/v1')}/count")
    assert said_by(steps.folder("a_0_serve")).startswith(address)
    assert read_status(steps.folder("a_0_serve")).state == "done"


def test_a_server_that_cannot_start_says_why(tmp_path):
    arms, steps = arms_and_steps([], {"a": [WrittenStep("serve", ("latency_s=soon",), "serve"), ASK]}, [0], "x")
    said = r"a_serve: ended with status 2, no address in its first line: see .*output.log"
    with Servers(Steps(planned_from(arms, steps), tmp_path)) as servers, pytest.raises(ValueError, match=said):
        servers.start(steps["a_serve"])
    assert "expected a number" in (tmp_path / "steps/a_serve/output.log").read_text()


KILLED = """
import os, sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_servers import steps_in
from diptych.studying.servers import Servers
planned, steps = steps_in(Path(sys.argv[1]))
servers = Servers(steps)
servers.start(planned["a_0_serve"])
print(servers._running["a_0_serve"][1].pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parents on Linux alone")
def test_a_study_that_is_killed_leaves_no_server_behind(tmp_path):
    here = Path(__file__).parent
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(here), str(here.parent)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as study:
        server = int(study.stdout.readline())
        os.kill(server, 0)
        study.send_signal(signal.SIGKILL)
    patience.wait_until(lambda: not _alive(server), lambda: f"the server {server} is still there")


def _alive(pid):
    try:  # what nobody waits for stays as a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

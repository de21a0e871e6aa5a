"""What a pipeline says at its end when nothing could be made."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from diptych.commands.pipeline import check_outcome
from diptych.stages.running.runner import StageCounts, StageRun


@pytest.fixture
def run_of(tmp_path):
    """A stage that has run, with these failures in its folder."""

    def make(name, *failures):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "failures.jsonl").write_text("".join(json.dumps(failure) + "\n" for failure in failures))
        return StageRun(name, SimpleNamespace(record_key="record_id"), folder, {})

    return make


NOT_UP = "no connection to the server, or it broke (Cannot connect to host); look at base_url"
OTHER_MODEL = "the server refuses the address or the model (404): The model `m` does not exist."


@pytest.mark.parametrize("message", [NOT_UP, OTHER_MODEL])
def test_the_first_message_of_the_server_is_told(run_of, message):
    first = {"record_id": "a", "reason": "connection", "message": message}
    run = run_of("describe", first, {"record_id": "b", "reason": "connection", "message": "another"})
    with pytest.raises(ValueError) as caught:
        check_outcome([run, run_of("write")], {"describe": StageCounts(0, 0, {"connection": 2})})
    said = str(caught.value)
    assert said.endswith(f"The first: {message}") and "\n" not in said
    assert said.startswith("no record could be made in describe. describe: 0 done, 2 failed: connection 2; ")
    assert str(run.folder / "failures.jsonl") in said and "retry_failures=true" in said


def test_a_stage_that_made_some_or_had_none_to_make_is_no_failure(run_of):
    runs = [run_of("describe"), run_of("write"), run_of("export")]
    check_outcome(runs, {"describe": StageCounts(1, 0, {"connection": 2}), "write": StageCounts(0, 0, {})})

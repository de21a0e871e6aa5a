"""A place for a study's steps that does not train: each ends at once, and leaves what its words say."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Question
from diptych.storage.run_status import change_status
from diptych.studying.plan import Arm, Step, Study
from diptych.sweeping.cluster import Run

STUDY = """\
# @package _global_
name: steps
question: Do more steps help?
hypotheses:
  - {metric: recall_at_1, arm: more, control: few, direction: higher, least: 0.2, says: more steps help}
metrics: [recall_at_1]
control: few
seeds: [0, 1]
size: {steps: 3}
quick: {seeds: [0], size: {steps: 1}}
data: rooms
limits: Nothing was trained.
minutes: {quick: 1, full: 2}
arms:
  few:
    - train: [experiment=cir_rooms, "data=${data}", "seed=<seed>", trainer.max_steps=1]
    - evaluate: ["ckpt=<train>", split=val]
  more:
    - train: [experiment=cir_rooms, "data=${data}", "seed=<seed>", trainer.max_steps=1]
    - train: [experiment=cir_rooms, "seed=<seed>", "trainer.max_steps=${size.steps}", "init_from=<train>"]
      as: second
    - evaluate: ["ckpt=<second>", split=val]
"""
FAKE = "cluster._target_=instant_steps.InstantSteps"
QUERIES = 20


def write_study(folder: Path, text: str = STUDY, name: str = "steps") -> Path:
    """A folder of configs with this study in it."""
    path = folder / "conf" / "study" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder / "conf"


class InstantSteps:
    """Steps end at once; those in `failing` fail. Of twenty queries those of an arm `more` find four more."""

    on_this_machine = True
    executed: list[str] = []  # the folders' names, over all instances of a test  # noqa: RUF012

    def __init__(self, jobs: int, gpus_per_job: None, failing: list[str] | None = None, meet: int = 1) -> None:
        self.at_once = jobs
        self.failing = failing or []
        self.meeting = threading.Barrier(meet)

    def overrides(self, chosen: Mapping[str, str]) -> list[str]:
        return ["trainer.log_every_n_steps=7"]

    def execute(self, run: Run) -> str | None:
        name = run.folder.name
        assert (run.folder.parents[1] / "study.json").is_file()  # the plan lies there before the first run
        self.executed.append(name)
        if name.startswith("few"):
            self.meeting.wait(20)
        if name in self.failing:
            change_status(run.folder, state="failed", error="ValueError: a first line\nno data")
            return "ended with status 1"
        seed = int(name.split("_")[1])
        found = [float(number % 10 < 2 + seed + 4 * name.startswith("more")) for number in range(QUERIES)]
        write_results(run.folder, found)
        change_status(run.folder, state="done", seconds=30.0)
        return None


def write_results(folder: Path, found: list[float]) -> None:
    """An evaluation of retrieval, as far as it is read."""
    lines = [{"query_id": f"q{number}", "recall_at_1": value} for number, value in enumerate(found)]
    (folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = {
        "data": ["rooms"],
        "split": "val",
        "lines": {},
        "queries": {"scored": QUERIES, "expected": QUERIES},
        "metrics": {"recall_at_1": sum(found) / len(found), "corpus": 3.5, "nothing": None},
    }
    (folder / "metrics.json").write_text(json.dumps(content))


def make_ledger(folder: Path, number: int) -> None:
    """So many answers of 100 and 20 tokens, at a dollar for a million each."""
    questions = [Question(f"{folder.name} {n}", "one_stage", str(n), list, 50, 100) for n in range(number)]
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.plan(questions, "m")
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        ledger.settle((one.key, Answer("[]", "stop", usage, 0.1)) for one in questions)
    (folder / "config.yaml").write_text("prices: {models: {m: {input: 1.0, output: 1.0}}}\n")
    (folder / "summary.json").write_text(json.dumps({"triplets": number - 1}))


def planned_from(arms: tuple[Arm, ...], steps: dict[str, Step]) -> Study:
    """A study of these arms, of which nothing else matters."""
    said = {"name": "x", "question": "?", "limits": "", "metrics": ("m",), "hypotheses": (), "size": {}}
    return Study(**said, control=arms[0].name, seeds=(0,), quick=False, arms=arms, steps=steps)

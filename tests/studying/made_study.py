"""A small study made by hand, for the tests of what a study leaves behind."""

import json
from pathlib import Path

from PIL import Image

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.hypotheses import Comparison, Hypothesis, Verdict
from diptych.studying.plan import Arm, Step, Study
from diptych.studying.result import FAILED, StepRun, StudyResult

SEEDS = (0, 1)
VALUES = {
    "single": {
        "recall_at_1": {
            0: {"q0": 0.0, "q1": 1.0, "q2": 0.0, "q3": 0.0},
            1: {"q0": 0.0, "q1": 1.0, "q2": 0.0, "q3": 1.0},
        }
    },
    "joined": {
        "recall_at_1": {
            0: {"q0": 1.0, "q1": 1.0, "q2": 1.0, "q3": 0.0},
            1: {"q0": 1.0, "q1": 0.0, "q2": 1.0, "q3": 1.0},
        }
    },
    "all": {
        "recall_at_1": {
            0: {"q0": 0.0, "q1": 1.0, "q2": 0.0, "q3": 0.0},
            1: {"q0": 0.0, "q1": 1.0, "q2": 1.0, "q3": 0.0},
        }
    },
}
HYPOTHESES = (
    Hypothesis("recall_at_1", "joined", "single", "higher", 0.05, says="joined texts teach composition"),
    Hypothesis("recall_at_1", "all", "single", "same", 0.125, relative=True),
    Hypothesis("recall_at_1", "broken", "single", "lower", 0.05),
    Hypothesis("recall_at_1", "joined", "all", "not_lower", 0.02),
)
COMPARISONS = (
    Comparison("recall_at_1", "joined", "single", 0.75, 0.375, 0.375, (0.125, 0.625), 0.01, 0.02, 0.3, 2, 4, 0.975),
    Comparison("recall_at_1", "all", "single", 0.375, 0.375, 0.0, (-0.25, 0.25), 1.0, 1.0, 0.35, 2, 4, 0.95),
)
TO_ALL = Comparison("recall_at_1", "joined", "all", 0.75, 0.375, 0.375, (-0.1, 0.7), 0.05, 0.1, 0.4, 2, 4, 0.95)


def make_result(root=Path("runs/study"), text="", **changes):
    """The study with its runs below `root`; `text` goes into every name, sentence and line that a file brings in."""
    kinds = {"train": "train", "evaluate": "evaluate"}
    steps, arms = {"before_serve": Step("before_serve", "serve", ())}, []
    for arm in (*VALUES, "broken"):
        names = {seed: ("before_serve", *(f"{arm}_{seed}_{kind}" for kind in kinds)) for seed in SEEDS}
        steps |= {name: Step(name, name.rsplit("_", 1)[-1], ()) for of in names.values() for name in of[1:]}
        arms.append(Arm(arm, names))
    study = Study(
        **{"name": f"permutations{text}", "question": f"Do permutations help?{text}", "hypotheses": HYPOTHESES}
        | {"metrics": ("recall_at_1",), "control": "single", "seeds": SEEDS, "size": {"steps": 100}, "quick": True}
        | {"limits": f"A generated world.{text}", "arms": tuple(arms), "steps": steps, "minutes": 8.0}
        | changes
    )
    runs = {
        name: StepRun(f"diptych {step.kind} seed=1{text}", root / name, seconds=60.0) for name, step in steps.items()
    }
    runs["before_serve"] = StepRun("diptych serve", root / "before_serve", seconds=500.0, planted=f"untrue .2{text}")
    runs["broken_0_train"] = StepRun("diptych train", root / "b", FAILED, 3.0, f"Trace\nValueError: no data{text}\n")
    words = ("supported", "undecided", "undecided", "supported")
    found = (*COMPARISONS, None, TO_ALL)
    verdicts = [
        Verdict(hypothesis, comparison, word, f"{word}: {hypothesis.arm}{text}")
        for hypothesis, comparison, word in zip(HYPOTHESES, found, words, strict=True)
    ]
    return StudyResult(
        study,
        plan_hash="ab" * 32,
        planned_at="2026-11-30T10:00:00+00:00",
        command=f"diptych study permutations quick=true{text}",
        runs=runs,
        comparisons=COMPARISONS,
        verdicts=verdicts,
        values=VALUES,
        meanings={"recall_at_1": MetricMeaning()},
        facts={f"torch{text}": f"2.15{text}"},
    )


def write_runs(folder, text=""):
    """The study, with folders of its evaluations as they are left: own triplets, each asked with `text`."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    records = []
    for number in range(4):
        Image.new("RGB", (40, 30), (60 * number, 90, 200)).save(images / f"{number}.png")
        names = [f"images/{(number + step) % 4}.png" for step in (0, 1)]
        words = [f"make it {number}{text}"]
        records.append({"query_id": f"q{number}", "reference_image": names[0], "modification_texts": words})
        records[-1]["target_image"] = names[1]
    _write_lines(folder / "data" / "val.jsonl", records)
    ranks = {"single": (9, 1, 90, 2), "joined": (1, 2, 1, 2), "all": (9, 1, 1, 2)}
    for arm, of_arm in ranks.items():
        for seed in SEEDS:
            place = folder / "runs" / f"{arm}_{seed}_evaluate"
            (place / ".hydra").mkdir(parents=True)
            target = "diptych.data.triplets.triplet_jsonl.TripletJSONL"
            source = {"_target_": target, "root": str(folder / "data")}
            config = {"data": {"_target_": "x", "sources": {"own_data": source}}, "split": "val"}
            (place / ".hydra" / "config.yaml").write_text(json.dumps(config))
            (place / "metrics.json").write_text(json.dumps({"data": ["own_data"], "split": "val", "metrics": {}}))
            found = [
                [records[number]["target_image"], "images/0.png"][:: 1 if rank == 1 else -1]
                for number, rank in enumerate(of_arm)
            ]
            _write_lines(
                place / "predictions.jsonl",
                [
                    {"query_id": f"q{number}", "ranked_ids": found[number], "target_rank": rank}
                    for number, rank in enumerate(of_arm)
                ],
            )
    return make_result(folder / "runs", text)


def _write_lines(path, lines):
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

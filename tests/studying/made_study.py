"""A small study made by hand, for the tests of what a study leaves behind."""

from pathlib import Path

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

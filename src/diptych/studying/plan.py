"""The plan of a study: its arms, for every seed, as steps that are run once each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import diptych

if TYPE_CHECKING:
    from diptych.studying.derived import Derived
    from diptych.studying.hypotheses import Hypothesis

KINDS = ("train", "evaluate", "pipeline", "pairs", "serve")
DATA = "data_dir"  # <data_dir>: the folder of all sets, DIPTYCH_DATA
SEED = "seed"
PLACEHOLDER = re.compile(r"<([A-Za-z_][\w.-]*)>")


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """A step as a study file has it: its command, the words, and the name that later words call it by."""

    kind: str
    words: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """One process: a command with its words, in a folder of its own, `steps/<name>` of the study's.

    In `words` stand `<NAME>` for the folder, or the address, of the step of that name, and `<data_dir>`: nothing in
    them depends on where the study lies or at which port a server listens. `needs` are the steps that are named so.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of doing it: by seed the names of its steps in order, those in front of every arm's included. What it
    comes to is what the last one leaves.
    """

    name: str
    steps: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True)
class Study:
    """A study as it is planned. `steps` has those of all arms by name, each behind those that it needs.

    `minutes` are those that its file expects on two CPU cores; `dial` gives arms a number, if that is what they differ
    in, and `dial_name` says of what. `derived` are its own metrics, by name.
    """

    name: str
    question: str
    hypotheses: tuple[Hypothesis, ...]
    metrics: tuple[str, ...]
    control: str
    seeds: tuple[int, ...]
    size: Mapping[str, Any]
    quick: bool
    limits: str
    arms: tuple[Arm, ...]
    steps: Mapping[str, Step]
    minutes: float | None = None
    dial: Mapping[str, float] = field(default_factory=dict)
    dial_name: str = ""
    derived: Mapping[str, Derived] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What is fixed before the first run, as JSON has it: another record is another study."""
        derived = {name: {"take": one.take, "of": list(one.of)} for name, one in self.derived.items()}
        return {
            "name": self.name,
            "version": diptych.__version__,
            "quick": self.quick,
            "hypotheses": [asdict(one) for one in self.hypotheses],
            **({"derived": derived} if derived else {}),
            "control": self.control,
            "seeds": list(self.seeds),
            "size": dict(self.size),
            "arms": {arm.name: {str(seed): list(names) for seed, names in arm.steps.items()} for arm in self.arms},
            "steps": {name: [step.kind, *step.words] for name, step in self.steps.items()},
        }

    def shared(self) -> list[str]:
        """The names of the steps that more than one arm needs."""
        users: dict[str, set[str]] = {}
        for arm in self.arms:
            for names in arm.steps.values():
                for name in names:
                    users.setdefault(name, set()).add(arm.name)
        return [name for name in self.steps if len(users[name]) > 1]


def arms_and_steps(
    before: Sequence[WrittenStep], arms: Mapping[str, Sequence[WrittenStep]], seeds: Sequence[int], where: str
) -> tuple[tuple[Arm, ...], dict[str, Step]]:
    """Every arm for every seed, and the steps of all by name. Steps of one kind with the same words are one step.

    Raises:
        ValueError: a word has a placeholder that stands for nothing; `where` names the study's file.
    """
    made: dict[tuple[str, tuple[str, ...]], Step] = {}
    seeded: set[str] = set()
    steps: dict[str, Step] = {}
    planned = []
    for arm, own in arms.items():
        of_seeds: dict[int, tuple[str, ...]] = {}
        for seed in seeds:
            known: dict[str, str] = {}  # what words call a step -> its name
            names: list[str] = []
            for place, written in enumerate([*before, *own]):
                at = f"{where}: arm {arm}, step {place + 1} ({written.kind})"
                words, needs, uses_seed = _filled(written.words, known, seed, at)
                step = made.get((written.kind, words))
                if step is None:
                    uses_seed = uses_seed or not seeded.isdisjoint(needs)
                    parts = [
                        "before" if place < len(before) else arm,
                        *([str(seed)] if uses_seed else []),
                        written.name,
                    ]
                    step = Step(_unused("_".join(parts), steps), written.kind, words, needs)
                    steps[step.name] = made[written.kind, words] = step
                    if uses_seed:
                        seeded.add(step.name)
                known |= {written.kind: step.name, written.name: step.name}
                names.append(step.name)
            of_seeds[seed] = tuple(names)
        planned.append(Arm(arm, of_seeds))
    return tuple(planned), steps


def filled(word: str, value: Callable[[str], str]) -> str:
    """The word with every placeholder replaced by its value."""
    return PLACEHOLDER.sub(lambda found: value(found[1]), word)


def _filled(
    words: Sequence[str], known: Mapping[str, str], seed: int, where: str
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The words with the seed, and the names of steps, in place; the steps named; whether the seed is in them."""
    found = [name for word in words for name in PLACEHOLDER.findall(word)]
    for name in found:
        if name not in (SEED, DATA) and name not in known:
            can_be = ", ".join(f"<{one}>" for one in (SEED, DATA, *known))
            raise ValueError(
                f"{where}: <{name}> stands for nothing here, only {can_be} do: <KIND> is the last step of that kind "
                "before it, <NAME> one with `as: NAME`"
            )
    values = {SEED: str(seed), DATA: f"<{DATA}>"} | {name: f"<{step}>" for name, step in known.items()}
    needs = tuple(dict.fromkeys(known[name] for name in found if name in known))
    return tuple(filled(word, values.__getitem__) for word in words), needs, SEED in found


def _unused(name: str, steps: Mapping[str, Step]) -> str:
    """The name, with a number behind it where another step has it already."""
    numbered, number = name, 1
    while numbered in steps:
        number += 1
        numbered = f"{name}_{number}"
    return numbered

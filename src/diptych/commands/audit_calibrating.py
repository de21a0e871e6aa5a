"""The stage that audits the audit: untrue sentences are planted at a known rate, and it is to find that rate again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.annotation.audit import RIGHT, UNREAD, audit_pair
from diptych.annotation.rates import rates_of
from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import MetricMeaning
from diptych.data.pairs.image_pairs import read_pairs
from diptych.results.record import METRICS, EvaluationRecord
from diptych.stages.annotation.audit_triplets import scene_behind
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordFile
from diptych.synthetic.rooms.language import describe_change
from diptych.synthetic.rooms.rarer_words import in_rarer_words
from diptych.synthetic.rooms.scene import Room, scene_from_json
from diptych.synthetic.scenes import Change, find_changes
from diptych.synthetic.server.rooms_language import say_change, untrue_change

LEVEL = 0.95  # of the audit's intervals
_RATE = {"untrue": ("untrue", "sentences")}
_ABOUT = {
    "covered": MetricMeaning("fraction", "higher"),
    "bias": MetricMeaning("fraction", None),
    "recovered": MetricMeaning("fraction", None),
    "unread": MetricMeaning("fraction", "lower"),
    "false_alarms": MetricMeaning("fraction", "lower"),
    "overlooked": MetricMeaning("fraction", "lower"),
}


def _own(change: Change, before: Room, rng: random.Random) -> str:
    return say_change(change, before.items().get(change.object), rng, rng.randrange(60))  # any of the wordings


def _of_the_set(change: Change, before: Room, rng: random.Random) -> str:
    return describe_change(change, before, np.random.default_rng(rng.getrandbits(64)))


WORDINGS: Mapping[str, Callable[[Change, Room, random.Random], str]] = {
    "server": _own,
    "set": _of_the_set,
    "fifth": lambda *said: in_rarer_words(_own(*said), 0.2, said[-1]),
    "half": lambda *said: in_rarer_words(_own(*said), 0.5, said[-1]),
}


class CalibrateAudit(RecordStage):
    """Audits `num_draws` times `num_pairs` of the pairs, drawn with replacement, about whose changes a sentence each is
    said, untrue with the chance `planted`; no server is asked. Records say of each draw what was `planted` into its
    sentences and what the audit found; metrics.json and scores.jsonl, in the folder `output`, have of each draw

    - `covered`: 1 where the audit's interval holds the chance, else 0;
    - `recovered`: the share of sentences that the audit calls wrong or hallucinated, and `bias`, that minus the share
      that was untrue in the draw;
    - `unread`, `false_alarms` and `overlooked`: the shares of all sentences that it could not read, that are true and
      called untrue, and that are untrue and not called so.

    The pairs are those of `split`. `wording` is `server` (the words of the imitated annotator), `set` (of the rooms
    set), or the server's with a `fifth` or `half` of their nouns and adjectives exchanged for rarer ones. With
    `perfect` the draws are those of an audit that keeps all that it promises: nothing is unread or mistaken, and 95 of
    100 intervals hold the chance.

    Raises:
        ValueError: another wording, a chance outside 0 to 1, or fewer than two draws.
    """

    record_key = "draw"
    runtime_settings = ("pairs", "split", "name", "output")

    def __init__(
        self,
        pairs: str | Path,
        split: str,
        planted: float,
        wording: str,
        num_draws: int,
        num_pairs: int,
        seed: int,
        name: str,
        output: str | Path,
        perfect: bool = False,
    ) -> None:
        if wording not in WORDINGS:
            raise ValueError(f"wording={wording}: one of {', '.join(WORDINGS)}")
        if not 0 <= planted <= 1:
            raise ValueError(f"planted={planted}: a chance, from 0 to 1")
        if num_draws < 2 or num_pairs < 1:
            raise ValueError(f"num_draws={num_draws}, num_pairs={num_pairs}: at least two draws of one pair")
        self.pairs, self.split, self.planted, self.wording = Path(pairs), split, planted, wording
        self.num_draws, self.num_pairs, self.seed = num_draws, num_pairs, seed
        self.name, self.output, self.perfect = name, Path(output), perfect

    def input_files(self) -> Sequence[Path]:
        """The pairs."""
        return [self.pairs]

    def output_files(self) -> Sequence[Path]:
        """metrics.json, which comes last."""
        return [self.output / METRICS]

    def ids(self) -> Sequence[str]:
        """The draws, by number."""
        return [f"draw{number:04d}" for number in range(self.num_draws)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """What was planted and found in each draw; every draw has random numbers of its own."""
        for name in ids:
            yield {"draw": name, **(self._promised() if self.perfect else self._audited(name))}

    def _promised(self) -> dict[str, Any]:
        nothing = dict.fromkeys(("unread", "false_alarms", "overlooked"), 0.0)
        return {"covered": LEVEL, "recovered": self.planted, "bias": 0.0, **nothing}

    def _audited(self, name: str) -> dict[str, Any]:
        rng = random.Random(f"{self.seed} {name}")
        say = WORDINGS[self.wording]
        counts = []
        found = dict.fromkeys(("unread", "false_alarms", "overlooked"), 0)
        num_untrue = 0
        for before, after, objects in rng.choices(self._scenes, k=self.num_pairs):
            items, untrue, sentences = (before.items(), after.items()), [], []
            for change in find_changes(before, after):
                untrue.append(rng.random() < self.planted)
                told = untrue_change(change, *items, rng) if untrue[-1] else change
                sentences.append(say(told, before, rng))
            verdicts = audit_pair(sentences, *objects).verdicts
            called = [verdict not in (RIGHT, UNREAD) for verdict in verdicts]
            counts.append({"untrue": sum(called), "sentences": len(sentences)})
            found["unread"] += verdicts.count(UNREAD)
            found["false_alarms"] += sum(call and not false for call, false in zip(called, untrue, strict=True))
            found["overlooked"] += sum(false and not call for call, false in zip(called, untrue, strict=True))
            num_untrue += sum(untrue)
        rate = rates_of(counts, _RATE)["untrue"]
        low, high = rate["interval"]
        return {
            "planted": num_untrue,
            "sentences": rate["of"],
            "interval": rate["interval"],
            "covered": float(low <= self.planted <= high),
            "recovered": rate["rate"],
            "bias": rate["rate"] - num_untrue / rate["of"],
            **{kind: number / rate["of"] for kind, number in found.items()},
        }

    @cached_property
    def _scenes(self) -> list[tuple[Room, Room, list[Any]]]:  # what the audit knows of both is made once: pairs recur
        pairs = read_pairs(self.pairs).pairs
        known = {image: None for pair in pairs for image in (pair.reference_image, pair.target_image)}
        scenes = {image: scene_from_json(scene_behind(image)) for image in known}
        objects = {image: scene.to_json()["objects"] for image, scene in scenes.items()}
        names = [(pair.reference_image, pair.target_image) for pair in pairs]
        return [(scenes[before], scenes[after], [objects[before], objects[after]]) for before, after in names]

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """metrics.json and scores.jsonl, into `output`."""
        records = RecordFile(folder, self.record_key).records()
        values = [{"query_id": name, **{key: record[key] for key in _ABOUT}} for name, record in records.items()]
        origin = {
            "experiment": self.name,
            "data": ["rooms"],
            "split": self.split,
            "checkpoint": None,
            "seed": self.seed,
        }
        record = EvaluationRecord(
            {**origin, "world_size": 1, "planted": self.planted, "wording": self.wording},
            num_scored=len(records),
            num_expected=self.num_draws,
            metrics={key: float(np.mean([line[key] for line in values])) for key in _ABOUT},
            meanings=dict(_ABOUT),
            lines={},
            values=values,
        )
        record.write(self.output)
        record.print(self.output)

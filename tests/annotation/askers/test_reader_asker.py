"""A reader as an asker: what it answers to the prompts of every stage, and how true that is where it sees rightly."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from diptych.annotation.askers.reader import ReaderAsker
from diptych.annotation.audit import audit_pair
from diptych.annotation.cost import Prices
from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.prompt import AnnotationPrompt
from diptych.annotation.task import AnnotationTask, VerificationTask
from diptych.annotation.verification_question import VerificationPrompt
from diptych.config.folder import CONFIG_FOLDER
from diptych.contracts.pipelines import Failure, Question
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.describe_reference import DescribeReference
from diptych.stages.annotation.describe_target import DescribeTarget
from diptych.stages.annotation.describe_target_alone import DescribeTargetAlone
from diptych.stages.annotation.one_stage import OneStage
from diptych.stages.annotation.verify_sentences import VerifySentences
from diptych.stages.annotation.write_modifications import WriteModifications
from diptych.storage.record_log import RecordLog
from diptych.synthetic.reader.fields import FIELDS, NOT_THERE, states_of
from diptych.synthetic.reader.looks import Look, PairLook
from diptych.synthetic.reader.reader import ReaderSettings
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.server.rooms_images import RoomsFolder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> Path:
    return generate_rooms(tmp_path_factory.mktemp("r") / "rooms", RoomsSettings(0, 2, 1, 1, 4, 6), num_workers=1)


class Seeing:
    """In place of a reader: sees what is on the pictures of a set, with `noise` added to its log-probabilities."""

    def __init__(self, rooms: Path, noise: float = 0.0) -> None:
        self.folder, self.noise, self.rng = RoomsFolder(rooms), noise, np.random.default_rng(0)

    def states(self, picture: Image.Image) -> list[int]:
        thumbnail = np.asarray(picture.resize((16, 16), Image.Resampling.BOX), np.float32).reshape(-1)
        distances = ((self.folder._thumbnails - thumbnail) ** 2).sum(axis=1)
        return states_of(self.folder.items(int(distances.argmin())))

    def look(self, picture: Image.Image) -> Look:
        log_probs = []
        for field, state in zip(FIELDS, self.states(picture), strict=True):
            values = np.full(len(field.values), -20.0)
            values[0 if state == NOT_THERE else state] = 0.0
            log_probs.append(values + self.noise * self.rng.normal(size=len(values)))
        return Look(log_probs)

    def compare(self, before: Image.Image, after: Image.Image) -> PairLook:
        states = np.array([self.states(before), self.states(after)])
        changed = (states[0] != states[1]) & (states != NOT_THERE).all(axis=0)
        return PairLook(np.where(changed, 20.0, -20.0), self.look(before), self.look(after))


def asker(seeing: Any, threshold: float = 2.0) -> ReaderAsker:
    made = ReaderAsker("nowhere", ReaderSettings(), threshold)
    made.__dict__["reader"] = seeing
    return made


class Annotation:
    """The stages with the prompts of the configs, on the pairs of a set's train split."""

    def __init__(self, rooms: Path, folder: Path, own: ReaderAsker) -> None:
        self.folder, records = folder, json.loads((rooms / "captions" / "hotel_train_data.json").read_text())
        paths = [
            [rooms / "images/train" / record[key] for key in ("query_image", "result_image")] for record in records
        ]
        self.pairs = {f"p{place}": two for place, two in enumerate(paths)}
        lines = [
            {"pair_id": name, "reference_image": str(one), "target_image": str(other)}
            for name, (one, other) in self.pairs.items()
        ]
        RecordLog(folder / "pairs.jsonl", "pair_id").write(lines)
        self.asking = Asking(own, str(folder / "ledger.sqlite"), Prices({}), own.model, PictureForm(), max_tries=1)

    def run(self, stage_class: Any, prompt: str, name: str, **inputs: Path) -> list[dict[str, Any]]:
        content = OmegaConf.load(CONFIG_FOLDER / "annotation" / "prompt" / f"{prompt}.yaml")
        domains = {name: str(words) for name, words in content.domains.items()}
        task = AnnotationTask(AnnotationPrompt(content.text, domains), self.folder / "pairs.jsonl", "hotel", 12)
        return self.finish(stage_class(self.asking, task, **inputs), name)

    def finish(self, stage: Any, name: str) -> list[dict[str, Any]]:
        results = list(stage.process(stage.ids()))
        assert not [result for result in results if isinstance(result, Failure)]
        RecordLog(self.folder / f"{name}.jsonl", stage.record_key).write(results)
        return results

    def three_stages(self, target: Any, prompt: str) -> list[dict[str, Any]]:
        self.run(DescribeReference, "describe_reference", "references")
        references, targets = self.folder / "references.jsonl", self.folder / "targets.jsonl"
        self.run(target, prompt, "targets", references=references)
        return self.run(WriteModifications, "write_modifications", "sentences", references=references, targets=targets)


WAYS = {
    "conditioned": lambda one: one.three_stages(DescribeTarget, "describe_target"),
    "independent": lambda one: one.three_stages(DescribeTargetAlone, "describe_reference"),
    "one_stage": lambda one: one.run(OneStage, "one_stage", "sentences"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_that_sees_rightly_hallucinates_nothing_and_misses_nothing(rooms, tmp_path, way):
    annotation = Annotation(rooms, tmp_path, asker(Seeing(rooms)))
    records = {record["pair_id"]: record["sentences"] for record in WAYS[way](annotation)}
    assert records.keys() == annotation.pairs.keys()
    for name, images in annotation.pairs.items():
        scenes = [
            json.loads(Path(str(path).replace("/images/", "/scenes/")).with_suffix(".json").read_text())["scene"]
            for path in images
        ]
        audit = audit_pair(records[name], *(scene["objects"] for scene in scenes))
        assert set(audit.verdicts) == {"right"} and not audit.missed
    verify = VerifySentences(
        annotation.asking,
        VerificationTask(VerificationPrompt("Does it hold?\n{sentence}"), tmp_path / "pairs.jsonl"),
        tmp_path / "sentences.jsonl",
    )
    assert all(record["holds"] for record in annotation.finish(verify, "verdicts"))


@pytest.mark.parametrize("way", WAYS)
def test_answers_of_a_reader_that_errs_are_accepted_and_the_same_again(rooms, tmp_path, way):
    """All forms are those asked for: the stages read them at the first try, and a pair without a change is silent."""
    first, again = (tmp_path / name for name in ("first", "again"))
    found = []
    for folder in (first, again):
        annotation = Annotation(rooms, folder, asker(Seeing(rooms, noise=9.0), threshold=0.5))
        found.append(WAYS[way](annotation))
    assert found[0] == found[1] and found[0]


def test_pictures_come_as_other_askers_get_them_and_other_questions_are_refused(rooms, tmp_path):
    own = asker(Seeing(rooms))
    questions = [
        Question(key, "s", key, lambda content=content: [{"role": "user", "content": content}], 9, 9)
        for key, content in {
            "text": "How are you?",
            "broken": [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}],
        }.items()
    ]
    with Ledger(str(tmp_path / "ledger.sqlite")) as ledger:
        ledger.plan(questions, own.model, own.price_factor)
        results = dict(own.ask(questions, ledger))
        assert {key: result.reason for key, result in results.items()} == {
            "text": "bad_request",
            "broken": "unreadable",
        }
        assert list(own.ask(questions, ledger)) == []


def test_the_models_name_tells_all_that_decides_an_answer():
    settings = [ReaderSettings(), ReaderSettings(width=13), ReaderSettings(steps=5), ReaderSettings(seed=1)]
    names = [ReaderAsker("f", one).model for one in (*settings, ReaderSettings(num_hotels=3))]
    names += [ReaderAsker("f", ReaderSettings(), threshold).model for threshold in (0.0, -1.5)]
    assert len(set(names)) == 7
    with pytest.raises(ValueError, match="threshold=nan is no number"):
        ReaderAsker("f", ReaderSettings(), float("nan"))
    asked = SimpleNamespace(kind="other", pictures=(), lists=())
    assert ReaderAsker("f", ReaderSettings()).answer(asked, random.Random(0)) is None  # and no reader was trained

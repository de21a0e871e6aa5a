"""The stage that plays the user of a retrieval system: told what was found, the user says what still differs.

Shape letters: B dialogues of a batch, G images of the gallery, E embedding width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.annotation.combine import join
from diptych.config.trained_encoder import TrainedEncoder
from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import MetricMeaning, Query
from diptych.ranking.fitted_protocol import fitted
from diptych.ranking.ranked_queries import rank_queries
from diptych.results.record import METRICS, EvaluationRecord
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordFile
from diptych.synthetic.scene_source import SceneSource
from diptych.synthetic.scenes import find_changes

HISTORIES = ("first", "last", "mean", "joined")
_BATCH_SIZE = 64
Embed = Callable[[Sequence[Path], Sequence[str]], tuple[Tensor, Sequence[bool]]]


@dataclass
class Dialogue:
    """What was said and found so far. `texts` and `pictures` have an entry for each time that the user spoke: what was
    said, and of which picture; `shown` is the image that came first in each round, `ranks` the target's place.
    """

    query: Query
    texts: list[str]
    pictures: list[str]
    vectors: list[Tensor] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    truncated: bool = False

    @property
    def over(self) -> bool:
        """Whether the target was found."""
        return bool(self.ranks) and self.ranks[-1] == 1

    def asks(self, history: str) -> tuple[str, str]:
        """Picture and text to search with next."""
        if history == "first":
            return self.pictures[0], self.texts[0]
        if history == "joined":
            return self.pictures[0], join(self.texts, [". "] * (len(self.texts) - 1))
        return self.pictures[-1], self.texts[-1]


def hold(
    dialogues: Sequence[Dialogue],
    source: SceneSource,
    split: str,
    gallery: tuple[Sequence[str], Tensor],
    embed: Embed,
    history: str,
    num_rounds: int,
) -> None:
    """Leads the dialogues for `num_rounds`, or until the target comes first. `gallery` are ids and embeddings (G, E);
    `embed` gives the embeddings (B, E) of pictures with texts, and whose text was cut.
    """
    ids, rows = gallery
    protocol = fitted(source.protocol(split), [one.query for one in dialogues], len(ids))
    for _ in range(num_rounds):
        going = [one for one in dialogues if not one.over]
        if not going:
            return
        pictures, texts = zip(*(one.asks(history) for one in going), strict=True)
        vectors, cut = embed([source.image_path(split, image_id) for image_id in pictures], texts)
        for one, vector in zip(going, vectors, strict=True):
            one.vectors.append(vector)
        asked = torch.stack([torch.stack(one.vectors).mean(0) for one in going]) if history == "mean" else vectors
        found = rank_queries(asked, rows, [one.query for one in going], ids, protocol, k=1)
        for one, ranked, was_cut in zip(going, found, cut, strict=True):
            assert ranked.target_rank is not None  # the target is in the gallery
            one.truncated |= was_cut
            one.ranks.append(ranked.target_rank)
            one.shown.append(ranked.ranked_ids[0])
            if not one.over:
                one.texts.append(still_to_change(source, split, one))
                one.pictures.append(one.shown[-1])


def still_to_change(source: SceneSource, split: str, dialogue: Dialogue) -> str:
    """What the user says of the image shown: all that still differs from the target; of one of another hotel, whose
    rooms nobody compares, only what was wanted of the reference.
    """
    query, said = dialogue.query, len(dialogue.texts)
    shown, reference, target = (
        source.scene_of(split, str(name)) for name in (dialogue.shown[-1], query.reference_image, query.target_image)
    )
    rng = random.Random(f"{query.query_id} {said}")
    start = shown if shown.style == target.style else reference
    return source.say(find_changes(start, target), start, rng)


class Dialogues(RecordStage):
    """Searches the gallery of `split` with the retrieval model of `checkpoint`, and with each text of a user who sees
    what comes first and says what still differs from the target, for `num_rounds` rounds or until the target is first.

    `history` says what a round searches with: `first`, the first picture and text again; `last`, the picture that came
    first and what was said of it; `mean`, the mean of the embeddings of all rounds, each as in `last`; `joined`, the
    first picture and all texts in one. Records hold each dialogue; metrics.json and scores.jsonl, in the folder
    `output`, have `recall_at_1_round_<n>`: whether the target was found by that round; and `truncated`: whether a text
    was longer than the model reads.

    Raises:
        ValueError: another history, or no round.
    """

    runtime_settings = ("name", "output")

    def __init__(
        self,
        checkpoint: str | Path,
        source: SceneSource,
        split: str,
        history: str,
        num_rounds: int,
        name: str,
        output: str | Path,
    ) -> None:
        if history not in HISTORIES:
            raise ValueError(f"history={history}: one of {', '.join(HISTORIES)}")
        if num_rounds < 1:
            raise ValueError(f"num_rounds={num_rounds}: at least 1")
        self.encoder, self.source, self.split = TrainedEncoder(checkpoint), source, split
        self.history, self.num_rounds, self.name, self.output = history, num_rounds, name, Path(output)

    def input_files(self) -> Sequence[Path]:
        """The checkpoint."""
        return self.encoder.input_files

    def output_files(self) -> Sequence[Path]:
        """metrics.json, which comes last."""
        return [self.output / METRICS]

    def ids(self) -> Sequence[str]:
        """The split's queries; ValueError where nothing says what the images show."""
        if not self.source.untrue_kinds:  # it knows what its images show
            raise ValueError(
                f"{self.source.name}: nobody knows what still differs; only of generated worlds is it known"
            )
        return [query.query_id for query in self.source.queries(self.split)]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The dialogue about each query."""
        self.encoder.load()
        images = self.source.gallery(self.split)
        paths = [image.path for image in images]
        blocks = [self._gallery_rows(paths[at : at + _BATCH_SIZE]) for at in range(0, len(paths), _BATCH_SIZE)]
        gallery = [image.image_id for image in images], torch.cat(blocks)
        queries = {query.query_id: query for query in self.source.queries(self.split)}
        for at in range(0, len(ids), _BATCH_SIZE):
            asked = [queries[query_id] for query_id in ids[at : at + _BATCH_SIZE]]
            dialogues = [Dialogue(query, [query.text], [query.reference_image]) for query in asked]
            hold(dialogues, self.source, self.split, gallery, self._embed, self.history, self.num_rounds)
            for one in dialogues:
                yield {
                    "query_id": one.query.query_id,
                    "texts": one.texts,
                    "shown": one.shown,
                    "ranks": one.ranks,
                    "truncated": one.truncated,
                }

    def _gallery_rows(self, paths: Sequence[Path]) -> Tensor:
        assert self.encoder.model is not None  # it was loaded
        read = self.encoder.reader
        pixels = torch.stack([read(path) for path in paths]).to(self.encoder.model.backbone.device)
        with torch.inference_mode():
            return self.encoder.model.embed_gallery(pixels)["model"].float().cpu()

    def _embed(self, paths: Sequence[Path], texts: Sequence[str]) -> tuple[Tensor, Sequence[bool]]:
        assert self.encoder.model is not None
        tokenize = self.encoder.model.backbone.preprocessing.tokenize
        return self.encoder.embed_queries(paths, texts), [bool(tokenize([text]).num_truncated) for text in texts]

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """metrics.json and scores.jsonl, into `output`."""
        records = RecordFile(folder, self.record_key).records()
        values: list[dict[str, Any]] = [
            {"query_id": query_id, **found_by_round(one, self.num_rounds)} for query_id, one in records.items()
        ]
        origin: dict[str, Any] = {"experiment": self.name, "data": [self.source.name], "split": self.split}
        origin |= {"checkpoint": str(self.encoder.checkpoint), "seed": None, "world_size": 1, "history": self.history}
        names = [key for key in values[0] if key != "query_id"]
        record = EvaluationRecord(
            origin,
            num_scored=len(records),
            num_expected=len(self.ids()),
            metrics={key: sum(float(line[key]) for line in values) / len(values) for key in names},
            meanings={key: MetricMeaning("fraction", "lower" if key == "truncated" else "higher") for key in names},
            lines={},
            values=values,
        )
        record.write(self.output)
        record.print(self.output)


def found_by_round(dialogue: Mapping[str, Any], num_rounds: int) -> dict[str, float]:
    """Of a record: 1 for every round by which the target had come first, else 0; and whether a text was cut."""
    ranks = dialogue["ranks"]
    found = {f"recall_at_1_round_{n}": float(1 in ranks[:n]) for n in range(1, num_rounds + 1)}
    return {**found, "truncated": float(dialogue["truncated"])}

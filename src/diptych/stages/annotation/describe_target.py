"""Stage 2 of annotation: what is to be seen in each target image, in the words of stage 1 where it is the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.annotation.answers import ImageDescription, parse
from diptych.annotation.descriptions import read_descriptions, reuse
from diptych.annotation.task import AnnotationTask
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.questions import Inquiry
from diptych.storage.json_values import json_value

STAND_IN = "x" * 3 * AskStage.expected_tokens  # as long as a description usually is


class DescribeTarget(AskStage):
    """A description of each pair's target, beside that of its reference in `references` (DescribeReference's records).

    Records are `{"pair_id", "objects", "reuse"}`; `reuse` is the share of the reference's descriptors that occur again
    word for word. Fails as AskStage, as `no_reference_description`, and as `unreadable` where the file is no image.
    """

    name = "describe_target"
    form = ImageDescription

    def __init__(self, asking: Asking, task: AnnotationTask, references: str | Path) -> None:
        super().__init__(asking, task)
        self.max_objects, self.references = task.max_objects, Path(references)

    def input_files(self) -> Sequence[Path]:
        """Pairs, and the descriptions of the references."""
        return [*super().input_files(), self.references]

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt with the reference's description, and the target."""
        assumed = assumed and not self.references.exists()
        references = {} if assumed else read_descriptions(self.references, "image")
        for pair_id in ids:
            pair = self.pairs[pair_id]
            reference = STAND_IN if assumed else references.get(pair.reference_image)
            if reference is None:
                yield no_reference_description(pair_id, pair.reference_image, self.references)
            else:
                yield Inquiry(pair_id, {"reference": reference}, (pair.target_image,), context=reference)

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The objects of the answer, and how many words it has taken over."""
        description = parse(ImageDescription, answer, max_objects=self.max_objects)
        objects = description.model_dump()["objects"]
        reference = json_value(inquiry.context)["objects"]
        return {"pair_id": inquiry.record_id, "objects": objects, "reuse": reuse(reference, objects)}


def no_reference_description(pair_id: str, image: str, references: Path) -> Failure:
    """For a pair whose reference stage 1 could not describe."""
    message = f"{references} has no description of {image}; the failures.jsonl beside it says why"
    return Failure(pair_id, "no_reference_description", message)

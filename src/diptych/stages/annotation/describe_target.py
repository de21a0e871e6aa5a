"""Stage 2 of annotation: what is to be seen in each target image, in the words of stage 1 where it is the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diptych.annotation.answers import ImageDescription, parse
from diptych.annotation.prompt import AnnotationPrompt
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage, Inquiry
from diptych.stages.annotation.asking import Asking
from diptych.storage.json_files import each_json_line

_ADVICE = "delete its folder, and it is made again"

STAND_IN = "x" * 3 * AskStage.expected_tokens  # as long as a description usually is


class DescribeTarget(AskStage):
    """A description of each pair's target, beside that of its reference in `references` (DescribeReference's records).

    Records are `{"pair_id", "objects", "reuse"}`; `reuse` is the share of the reference's descriptors that occur again
    word for word. Fails as AskStage, as `no_reference_description`, and as `unreadable` where the file is no image.
    """

    name = "describe_target"
    form = ImageDescription

    def __init__(
        self,
        asking: Asking,
        prompt: AnnotationPrompt,
        pairs: str | Path,
        references: str | Path,
        domain: str,
        max_objects: int,
        images_root: str | Path | None = None,
    ) -> None:
        super().__init__(asking, prompt, pairs, domain, max_objects, images_root)
        self.references = Path(references)
        self.input_files = [self.pairs, self.references]

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt with the reference's description, and the target."""
        pairs = {pair.pair_id: pair for pair in self._pairs.pairs}
        assumed = assumed and not self.references.exists()
        references = {} if assumed else read_descriptions(self.references, "image")
        for pair_id in ids:
            pair = pairs[pair_id]
            reference = STAND_IN if assumed else references.get(pair.reference_image)
            if reference is None:
                yield no_reference_description(pair_id, pair.reference_image, self.references)
            else:
                yield Inquiry(pair_id, {"reference": reference}, (pair.target_image,))

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The objects of the answer, and how many words it has taken over."""
        description = parse(ImageDescription, answer, max_objects=self.max_objects)
        objects = description.model_dump()["objects"]
        reference = json.loads(inquiry.values["reference"])["objects"]
        return {"pair_id": inquiry.record_id, "objects": objects, "reuse": reuse(reference, objects)}


def reuse(reference: Iterable[Mapping[str, Any]], target: Iterable[Mapping[str, Any]]) -> float | None:
    """The share of the reference's different descriptors that the target has too; None where there are none."""
    said, again = ({text for item in objects for text in item["descriptors"]} for objects in (reference, target))
    return round(len(said & again) / len(said), 4) if said else None


def read_descriptions(path: Path, key: str) -> dict[str, str]:
    """The descriptions in a file of records by the id under `key`, each as prompts show it: texts take a fifth of the
    memory that objects do, and a hundred thousand are held.

    Raises:
        ValueError: a line is no record; names file and line.
    """
    descriptions: dict[str, str] = {}
    for where, record in each_json_line(path, _ADVICE):
        try:
            descriptions[record[key]] = shown(record["objects"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{where}: no record ({error!r}); {_ADVICE}") from None
    return descriptions


def shown(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as prompts show them: in the form of the answer, an object a line."""
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in objects)
    return f'{{"objects": [\n{lines}\n]}}'


def no_reference_description(pair_id: str, image: str, references: Path) -> Failure:
    """For a pair whose reference stage 1 could not describe."""
    message = f"{references} has no description of {image}; the failures.jsonl beside it says why"
    return Failure(pair_id, "no_reference_description", message)

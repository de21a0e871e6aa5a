"""Stage 3 of annotation: what has changed, in sentences, from the two descriptions alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.annotation.answers import ImageDescription, Modifications, fewest_sentences, parse
from diptych.annotation.descriptions import read_descriptions
from diptych.annotation.task import AnnotationTask
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.describe_target import STAND_IN, no_reference_description
from diptych.stages.annotation.questions import Inquiry


class WriteModifications(AskStage):
    """The sentences that say how each pair's target differs from its reference, from DescribeReference's records in
    `references` and DescribeTarget's in `targets`; no picture is sent.

    Records are `{"pair_id", "sentences"}`. Fails as AskStage, as `no_reference_description` or
    `no_target_description`, and as `no_difference` where both descriptions say the same.
    """

    name = "write_modifications"
    form = Modifications
    expected_tokens = 150

    def __init__(self, asking: Asking, task: AnnotationTask, references: str | Path, targets: str | Path) -> None:
        super().__init__(asking, task)
        self.references, self.targets = Path(references), Path(targets)

    def input_files(self) -> Sequence[Path]:
        """Pairs, and both descriptions."""
        return [*super().input_files(), self.references, self.targets]

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt with both descriptions."""
        if assumed and not (self.references.exists() and self.targets.exists()):
            for pair_id in ids:
                yield Inquiry(pair_id, {"reference": STAND_IN, "target": STAND_IN})
            return
        references = read_descriptions(self.references, "image")
        targets = read_descriptions(self.targets, "pair_id")
        for pair_id in ids:
            image = self.pairs[pair_id].reference_image
            if image not in references:
                yield no_reference_description(pair_id, image, self.references)
            elif pair_id not in targets:
                message = f"{self.targets} does not describe the pair's target; the failures.jsonl beside it says why"
                yield Failure(pair_id, "no_target_description", message)
            else:
                yield self._inquiry(pair_id, references[image], targets[pair_id])

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The sentences of the answer."""
        modifications = parse(Modifications, answer, min_sentences=inquiry.context)
        return {"pair_id": inquiry.record_id, "sentences": modifications.sentences}

    def _inquiry(self, pair_id: str, reference: str, target: str) -> Inquiry | Failure:
        fewest = fewest_sentences(*(ImageDescription.model_validate_json(text) for text in (reference, target)))
        if fewest == 0:
            message = "both images are described in the same words, so there is nothing to write; look at the pair"
            return Failure(pair_id, "no_difference", message)
        return Inquiry(pair_id, {"reference": reference, "target": target}, context=fewest)

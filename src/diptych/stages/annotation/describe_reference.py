"""Stage 1 of annotation: what is to be seen in each reference image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from diptych.annotation.answers import ImageDescription, parse
from diptych.annotation.task import AnnotationTask
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.questions import Inquiry


class DescribeReference(AskStage):
    """A description of every image that is a pair's reference: one of each, however many pairs it is in.

    Records are `{"image", "objects": [{"name", "descriptors"}]}`, the image as `ImagePair` names it. Fails as AskStage,
    and as `unreadable` where the file is no image.
    """

    record_key = "image"
    name = "describe_reference"
    form = ImageDescription

    def __init__(self, asking: Asking, task: AnnotationTask) -> None:
        super().__init__(asking, task)
        self.max_objects = task.max_objects

    def ids(self) -> Sequence[str]:
        """The reference images, in the order of first use."""
        return list(dict.fromkeys(pair.reference_image for pair in self.pairs.values()))

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt, with the image."""
        return (Inquiry(image, {}, (image,)) for image in ids)

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The objects of the answer."""
        description = parse(ImageDescription, answer, max_objects=self.max_objects)
        return {"image": inquiry.record_id, **description.model_dump()}

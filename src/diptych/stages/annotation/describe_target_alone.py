"""Stage 2 of annotation without the words of stage 1: what is to be seen in each target image by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from diptych.contracts.pipelines import Failure
from diptych.stages.annotation.describe_target import DescribeTarget
from diptych.stages.annotation.questions import Inquiry


class DescribeTargetAlone(DescribeTarget):
    """A description of each pair's target by a prompt that shows no other description: what DescribeTarget is compared
    with. Records and failures are the same.
    """

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The prompt, with the target; the reference's description is for `reuse` alone."""
        for inquiry in super().inquiries(ids, assumed):
            if isinstance(inquiry, Inquiry):
                inquiry = replace(inquiry, values={})
            yield inquiry

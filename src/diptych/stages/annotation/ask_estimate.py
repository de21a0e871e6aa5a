"""What a stage has yet to ask, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diptych.annotation.cost import Estimate
from diptych.annotation.ledger.ledger import Ledger, Tokens
from diptych.contracts.pipelines import Failure, Question
from diptych.stages.annotation.asking import Asking


def estimate(
    questions: Iterable[tuple[Question, Sequence[str]] | Failure], asking: Asking, expected_tokens: int, assumed: bool
) -> Estimate:
    """Counts questions, given with their images, that the ledger has no answer to. Sends nothing, and writes nothing.

    `expected_tokens` is an answer's usual length. `assumed` says that inputs are made up: different records may then
    have the same question, and all of them count.
    """
    found = Estimate(assumed=assumed)
    asked: dict[str, tuple[Question, Sequence[str]]] = {}
    for one in questions:
        if isinstance(one, Failure):
            found.failed += 1
        else:
            asked[one[0].record_id if assumed else one[0].key] = one
    settled: set[str] = set()
    for path in (asking.ledger, asking.earlier_ledger):
        if path is not None and not assumed:
            with Ledger(path) as ledger:
                settled |= ledger.settled(asked).keys()
    found.settled = len(settled)
    for key, (question, images) in asked.items():
        if key not in settled:
            _add(question, images, asking, expected_tokens, found)
    if asking.asker.price_factor == 0 or asking.prices.of(asking.model) is not None:
        num_input = found.num_image_tokens + found.num_text_tokens
        found.usual_usd, found.most_usd = (
            asking.prices.cost_usd([Tokens(asking.model, asking.asker.price_factor, num_input, num_output)])
            for num_output in (found.num_output_tokens, found.most_output_tokens)
        )
    return found


def _add(question: Question, images: Sequence[str], asking: Asking, expected_tokens: int, found: Estimate) -> None:
    form, num_image_tokens = asking.picture_form, 0
    for image in images:
        size, each = form.size(image), asking.prices.num_image_tokens(asking.model, image, form)
        found.images[f"{size[0]} x {size[1]}" if size else "unknown size", each] += 1
        num_image_tokens += each
    found.requests += 1
    found.num_image_tokens += num_image_tokens
    found.num_text_tokens += question.num_input_tokens - num_image_tokens
    found.num_output_tokens += min(expected_tokens, asking.max_tokens)
    found.most_output_tokens += asking.max_tokens

"""How the page answers: what a user did wrong is a sentence in it, and all else stays as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from diptych.app import parts

ONE_AT_A_TIME = "model"  # of events that ask a model: they wait for each other

# A click on a button of a part says which image or round it stands for.
CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-image], button[data-round]');
  if (button) trigger('select', {image: button.dataset.image ?? null, round: Number(button.dataset.round ?? 0)});
});
"""


def answering(function: Callable[..., tuple[Any, ...]], num_others: int) -> Callable[..., tuple[Any, ...]]:
    """The function, whose first output is the page's message, with the sentence of a ValueError there, and the other
    outputs as they were.
    """

    @functools.wraps(function)
    def answer(*given: Any) -> tuple[Any, ...]:
        try:
            return function(*given)
        except ValueError as error:
            return (parts.message(str(error), is_error=True), *[gr.skip()] * num_others)

    return answer


def private(concurrency: str | None = None) -> dict[str, Any]:
    """Settings of an event: no public interface, and one at a time among those of the same name."""
    return {"api_visibility": "private", "show_progress": "minimal", "concurrency_id": concurrency}

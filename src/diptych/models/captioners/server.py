"""Captions by any vision-language model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path

from diptych.contracts.pipelines import Failure
from diptych.models.captioners.caption import Caption
from diptych.models.server.finish_reasons import is_broken_off, is_cut, is_filtered
from diptych.models.server.vlm_client import Messages, Request, VLMClient
from diptych.photos.image_urls import data_url


class ServerCaptioner:
    """Sends each photo with `instruction` to the server of `client`; the answer, of at most `max_tokens` tokens, is the
    caption, unless it was withheld. Photos are sent as JPEG with a long side of at most `max_side` pixels; null leaves
    them as they are.

    Construction does no I/O.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(self, client: VLMClient, instruction: str, max_side: int | None = 1024, max_tokens: int = 350) -> None:
        if not instruction.strip():
            raise ValueError(f"instruction={instruction!r} is blank; say what the caption is to hold")
        if max_tokens < 1 or (max_side is not None and max_side < 1):
            raise ValueError(f"max_tokens={max_tokens}, max_side={max_side}: want at least 1")
        self.client, self.instruction = client, instruction.strip()
        self.max_side, self.max_tokens = max_side, max_tokens

    def describe_files(self, photos: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Caption | Failure]]:
        """A caption, or why there is none, for each (id, file), as they come; `stop_reason` is `length` where
        the limit of tokens cut it off, else the server's word.

        Raises:
            ValueError: the key is not set, or the server refuses what all photos have in common (see
                `VLMClient.results_together`).
        """
        requests = (Request(name, partial(self._messages, path), self.max_tokens) for name, path in photos)
        with closing(self.client.results_together(requests)) as together:
            for name, answer in chain.from_iterable(together):
                if isinstance(answer, Failure):
                    yield name, answer
                elif is_filtered(answer.finish_reason):
                    said = f"the model refuses to describe the photo ({answer.finish_reason}): {answer.text[:200]!r}"
                    yield name, Failure(name, "refused", said)
                elif is_broken_off(answer.finish_reason):
                    said = f"the server broke off its answer ({answer.finish_reason}): {answer.text[:200]!r}"
                    yield name, Failure(name, "server_error", said)
                else:
                    reason = "length" if is_cut(answer.finish_reason) else answer.finish_reason
                    yield name, Caption(" ".join(answer.text.split()), reason)

    def _messages(self, path: Path) -> Messages:
        picture = {"type": "image_url", "image_url": {"url": data_url(path, self.max_side)}}
        return [{"role": "user", "content": [picture, {"type": "text", "text": self.instruction}]}]

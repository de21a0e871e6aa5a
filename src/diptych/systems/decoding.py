"""Token by token: a batch of prompts to answers, none of which depends on the others in the batch.

Shape letters: B rows still being written, L tokens of prompt and answer, V vocabulary.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from diptych.contracts.news import FusionExample, PromptBatch
from diptych.parallel.devices import fetched, sent
from diptych.systems.name_constraint import NameConstraint, NamePath

END_OF_TURN, TARGET_WORDS, MAX_NEW_TOKENS = "end_of_turn", "target_words", "max_new_tokens"


@dataclass
class Decoded:
    """What a model writes for one prompt: `token_ids` so far (the end of turn is not among them), and why it stopped.

    `path` is its way through the names that it may write, where these are limited. `draws` gives the numbers
    that its tokens are chosen by: one row's own, so that no other row moves them. `num_tokens` counts all tokens
    generated, the end of turn included.
    """

    example: FusionExample
    candidate: int
    draws: random.Random
    token_ids: list[int] = field(default_factory=list)
    num_tokens: int = 0
    stop_reason: str | None = None
    path: NamePath | None = None


def new_decoded(example: FusionExample, candidate: int, seed: int) -> Decoded:
    """An empty answer whose draws depend on seed, query id and candidate number alone."""
    # Python promises the same numbers for a text as seed in every version.
    return Decoded(example, candidate, random.Random(f"{seed}/{candidate}/{example.query_id}"))


def pad_left(examples: Sequence[FusionExample], pad_token_id: int) -> PromptBatch:
    """The prompts with padding before them (B, L), in the order given."""
    length = max(len(example.prompt_ids) for example in examples)
    input_ids = torch.full((len(examples), length), pad_token_id)
    attention_mask = torch.zeros(len(examples), length, dtype=torch.long)
    for row, example in enumerate(examples):
        input_ids[row, length - len(example.prompt_ids) :] = torch.tensor(example.prompt_ids)
        attention_mask[row, length - len(example.prompt_ids) :] = 1
    return PromptBatch(tuple(example.query_id for example in examples), input_ids, attention_mask)


def sample(logits: Tensor, draws: Tensor, temperature: float, min_p: float) -> Tensor:
    """A token (B,) for each row of logits (B, V), chosen by its number (B,) in [0, 1).

    Tokens less likely than `min_p` times the likeliest are left out (after the temperature, as in transformers).
    """
    scaled = logits.double() / temperature
    if min_p > 0:
        scaled = scaled.masked_fill(scaled < scaled.amax(-1, keepdim=True) + math.log(min_p), -math.inf)
    cumulative = scaled.softmax(-1).cumsum(-1)
    # Just below the sum: rounding must not lead past the last token that is left.
    wanted = draws.to(cumulative)[:, None] * cumulative[:, -1:] * (1 - 2**-40)
    tokens = torch.searchsorted(cumulative, wanted, right=True).squeeze(-1)
    return tokens.clamp(max=logits.shape[-1] - 1)  # NaN leads past the end, where a GPU breaks off without a word


def tokens_late(device: torch.device) -> int:
    """How many tokens the host is behind: a GPU has the next one to do while the host reads the last."""
    return 1 if device.type == "cuda" else 0


@dataclass(frozen=True)
class Decoder:
    """Writes answers. `temperature` is None for the likeliest token each time.

    An answer ends with a token of `end_of_turn`, where `is_long_enough(answer)` says so, or after `max_new_tokens`.
    With `names` it holds none that these do not allow; a name that `max_new_tokens` would cut off is left out.
    The model's own generation config has no say.
    """

    end_of_turn: Collection[int]
    pad_token_id: int
    max_new_tokens: int
    temperature: float | None
    min_p: float
    is_long_enough: Callable[[Decoded], bool]
    names: NameConstraint | None = None

    @torch.inference_mode()
    def complete(self, model: nn.Module, answers: Sequence[Decoded]) -> None:
        """Fills the answers in. Rows that have ended leave the batch.

        The model is called as transformers' causal models are, with a key-value cache. Batches of other sizes give
        the same tokens up to the rounding of the model's precision.

        Where tokens are read late (`tokens_late`), rows leave late, and what they write after their end is dropped.
        With `names` none are: what may follow hangs on the last token.

        Raises:
            ValueError: the model gave NaN.
            torch.OutOfMemoryError: the batch is too large for the device.
        """
        device = next(model.parameters()).device
        batch = pad_left([answer.example for answer in answers], self.pad_token_id)
        input_ids, mask = sent(batch.input_ids, device), sent(batch.attention_mask, device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        draws = sent(self._draws(answers), device)
        coming: deque[tuple[list[Decoded], Callable[[], Tensor]]] = deque()
        active, cache = list(answers), None
        late = tokens_late(device) if self.names is None else 0
        if self.names is not None:
            for answer, path in zip(answers, self.names.paths([answer.example for answer in answers]), strict=True):
                answer.path = path
        for step in range(self.max_new_tokens):
            output: Any = model(
                input_ids=input_ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            tokens, broken = self._choose(output.logits[:, -1].float(), draws[:, step : step + 1], active)
            coming.append((active, fetched(torch.stack([tokens, broken]))))
            if len(coming) > late:
                self._read(*coming.popleft())
            kept = [row for row, answer in enumerate(active) if answer.stop_reason is None]
            if not kept:
                break
            if len(kept) < len(active):
                rows = sent(torch.tensor(kept), device)
                cache.batch_select_indices(rows)
                mask, positions, tokens, draws = mask[rows], positions[rows], tokens[rows], draws[rows]
                active = [active[row] for row in kept]
            input_ids = tokens[:, None]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
            positions = positions[:, -1:] + 1
        for left in coming:
            self._read(*left)

    def read(self, answer: Decoded, token_ids: Iterable[int], is_cut: bool) -> None:
        """Fills in an answer of tokens that were written elsewhere, as far as `complete` would have written it. Where
        they break off, it was the limit of tokens if it `is_cut`, else an end of turn that is not among them.
        """
        for token in token_ids:
            if answer.stop_reason is None:
                self._add(answer, token)
        if answer.stop_reason is None:
            answer.stop_reason = MAX_NEW_TOKENS if is_cut else END_OF_TURN
            answer.num_tokens += not is_cut

    def _draws(self, answers: Sequence[Decoded]) -> Tensor:
        """The numbers (B, tokens) that all tokens are chosen by; none without sampling."""
        number = 0 if self.temperature is None else self.max_new_tokens
        drawn = [[answer.draws.random() for _ in range(number)] for answer in answers]
        return torch.tensor(drawn, dtype=torch.float64)

    def _choose(self, logits: Tensor, draws: Tensor, answers: Sequence[Decoded]) -> tuple[Tensor, Tensor]:
        """The next token of every row, and whether (0, 1) its logits are NaN."""
        broken = logits.amax(-1).isnan().long()
        if self.names is not None:
            paths = [answer.path for answer in answers if answer.path is not None]
            logits = logits.masked_fill(~self.names.allowed(paths, logits), -math.inf)
        if self.temperature is None:
            return logits.argmax(-1), broken
        return sample(logits, draws[:, 0], self.temperature, self.min_p), broken

    def _read(self, answers: Sequence[Decoded], coming: Callable[[], Tensor]) -> None:
        """Adds the tokens that have come to the answers that had not ended."""
        for answer, token, broken in zip(answers, *coming().tolist(), strict=True):
            if answer.stop_reason is not None:
                continue
            if broken:
                raise ValueError("the model gives NaN instead of logits: its weights or its precision are broken")
            self._add(answer, token)

    def _add(self, answer: Decoded, token: int) -> None:
        answer.num_tokens += 1
        if token in self.end_of_turn:
            answer.stop_reason = END_OF_TURN
            return
        answer.token_ids.append(token)
        if answer.path is not None:
            answer.path.take(token)
        if self.is_long_enough(answer):
            answer.stop_reason = TARGET_WORDS
        elif answer.num_tokens == self.max_new_tokens:
            answer.stop_reason = MAX_NEW_TOKENS
            if answer.path is not None:
                del answer.token_ids[answer.path.whole :]

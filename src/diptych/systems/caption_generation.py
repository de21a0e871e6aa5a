"""Prompts to captions, each on the disk as soon as it is made, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress, track
from torch import nn

from diptych.contracts.news import ClaimChecker, FusionExample, SentenceEncoder, TextTokenizer
from diptych.contracts.pipelines import Failure
from diptych.contracts.prompts import PromptAnswer, PromptServer
from diptych.parallel.distributed import on_every_rank, rank, smallest, world_size
from diptych.storage.record_log import RecordLog, claim, existing_logs, merge_rank_files, rank_file, read_logs
from diptych.systems import consensus
from diptych.systems.answer_writer import AnswerWriter, answering
from diptych.systems.answers_at_a_time import answers_at_a_time
from diptych.systems.candidate_choice import CHOICES, CandidateChoice
from diptych.systems.caption_records import caption_record, described, end_at_target, made_with
from diptych.systems.checked_prompts import check_prompts, context_of
from diptych.systems.decoding import Decoder
from diptych.systems.name_constraint import NameConstraint
from diptych.systems.served_answers import check_answered, check_settings, prompt_request, read_answer

Batch = list[FusionExample]
NAMES = ("any", "evidence")


@dataclass(frozen=True)
class GenerationSettings:
    """How captions are written. The defaults are those of the published code, with sampling switched on.

    `temperature` and `min_p` are those of sampling, and nothing without it. `batch_size` counts answers written at a
    time; `auto` is what the GPU has room for, and 16 on a CPU (`answers_at_a_time`). Of `num_candidates` samples of a
    query one is kept by the `choice`: by `consensus` alone, or by `support` in the evidence first (see
    `candidate_choice`); `consensus` says how samples are compared. `target_words` ends a caption with the first
    sentence end at or after so many words, or after a quarter more (`answer_text.target_end`); a prompt's own length
    goes before. `num_beams` above 1 searches for the likeliest answer, of which the target then cuts the end off.
    `names` limits what captions may name: to what their `evidence` and base caption name (see `text.name_words`), or
    not at all, `any`.

    Raises:
        ValueError: a value makes no sense.
    """

    max_new_tokens: int = 350
    do_sample: bool = True
    temperature: float = 1.0
    min_p: float = 0.1
    batch_size: int | str = "auto"
    seed: int = 0
    num_candidates: int = 1
    consensus: Literal["cider", "embedding"] = "cider"
    target_words: int | None = None
    choice: Literal["consensus", "support"] = "consensus"
    num_beams: int = 1
    names: Literal["any", "evidence"] = "any"

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "batch_size", "num_candidates", "num_beams", "target_words"):
            value = getattr(self, name)
            if value == "auto" and name == "batch_size":
                continue
            if value is not None and (isinstance(value, str) or value < 1):
                automatic = ", or auto" if name == "batch_size" else ""
                raise ValueError(f"{name}={value} must be at least 1{automatic}")
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must be above 0; or set do_sample=false")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p={self.min_p} must be from 0 to 1")
        if self.num_candidates > 1 and not self.do_sample:
            raise ValueError(
                f"num_candidates={self.num_candidates} without do_sample=true: all candidates would be the same"
            )
        if self.num_beams > 1 and self.do_sample:
            raise ValueError(f"num_beams={self.num_beams} looks for the likeliest answer: set do_sample=false")
        if self.consensus not in ("cider", "embedding"):
            raise ValueError(f"consensus={self.consensus!r} is not one of cider, embedding")
        if self.names not in NAMES:
            raise ValueError(f"names={self.names!r} is not one of {', '.join(NAMES)}")
        if self.num_beams > 1 and self.names != "any":
            raise ValueError(
                f"num_beams={self.num_beams}: beams are not limited to names; set num_beams=1 or names=any"
            )
        if self.choice not in CHOICES:
            raise ValueError(f"choice={self.choice!r} is not one of {', '.join(CHOICES)}")


class CaptionGenerator:
    """Writes captions with `settings`, a record each. `encoder` is what the consensus by embedding compares with,
    `claim_checker` what the choice by support asks.

    A record has `query_id`, `caption`, `stop_reason` (`end_of_turn`, `target_words`, `max_new_tokens`),
    `completion_tokens`, `think_removed`, `prompt_tokens`, and of several candidates `chosen` (from 0) and `candidates`,
    by support with what decided (see `CandidateChoice`).
    A caption may be empty; it is never replaced.

    Started again after it was killed, a run works out only what is missing, in the batches of an undisturbed run (of
    which the file of settings keeps the size that was found), and ends with the same bytes, unless memory ran out on
    the way and batches were halved. Batches, restarts, processes and their number change nothing but rounding in the
    model's own precision.

    Raises:
        ValueError: the choice needs an encoder or a checker, and there is none.
    """

    def __init__(
        self,
        settings: GenerationSettings,
        encoder: SentenceEncoder | None = None,
        claim_checker: ClaimChecker | None = None,
    ) -> None:
        self.settings, self.claim_checker = settings, claim_checker
        self._choice: CandidateChoice | None = None
        self._names: tuple[TextTokenizer, NameConstraint] | None = None
        if settings.num_candidates == 1:
            return
        closeness: consensus.Closeness = consensus.cider_closeness
        if settings.consensus == "embedding":
            if encoder is None:
                raise ValueError("settings.consensus=embedding needs a sentence encoder: encoder=null")
            closeness = consensus.EmbeddingCloseness(encoder)
        if settings.choice == "support" and claim_checker is None:
            raise ValueError("settings.choice=support needs a checker of claims: claim_checker=null")
        self._choice = CandidateChoice(closeness, claim_checker if settings.choice == "support" else None)

    def generate(
        self,
        model: nn.Module,
        tokenizer: TextTokenizer,
        prompts: Sequence[FusionExample],
        output: Path,
        describe: Callable[[str], Mapping[str, Any]] | None = None,
        *,
        model_fingerprint: str,
        end_of_turn: Collection[int] = (),
        show_progress: bool = True,
    ) -> list[dict[str, Any]]:
        """One record per prompt, in the prompts' order, which `output` (`predictions.jsonl`) then holds.

        `describe` gives what else a query's record says. Until all are done the file is in the order of work, without
        the choice among candidates; `NAME.settings.json` beside it says what it is made with. `model_fingerprint`
        stands for the weights; `end_of_turn` are tokens that end an answer beside the tokenizer's own. The model is in
        evaluation mode for the time. With several processes, each brings all prompts and gets all records.

        Raises:
            ValueError: prompts that no model could answer, files of other settings, or out of memory with one
                answer. `RuntimeError` where another process failed.
        """
        output = Path(output)
        ends = sorted({tokenizer.eos_token_id, *end_of_turn})
        origin = made_with(self.settings, prompts, model_fingerprint, ends)
        on_every_rank(lambda: self._check(prompts, context_of(model)))
        found = smallest(on_every_rank(lambda: self._room(model, prompts)))
        done, room = on_every_rank(lambda: self._completed(prompts, output, origin, found))

        def work() -> None:
            log = RecordLog(output if world_size() == 1 else rank_file(output, rank()))
            writer = self._writer(model, tokenizer, room, ends)
            batches = self._batches(prompts, room)
            missing = [batch for batch in batches if any(one.query_id not in done for one in batch)]
            silent = not show_progress or rank() > 0
            for batch in track(missing, "Writing captions", console=Console(stderr=True), disable=silent):
                records = self._answer(writer, tokenizer, batch)
                log.append([described(record, describe) for record in records if record["query_id"] not in done])

        def merge() -> None:
            if rank() == 0:
                merge_rank_files(output, [example.query_id for example in prompts], partial(self._choose, prompts))

        with answering(model):
            on_every_rank(work)
        on_every_rank(merge)
        return list(RecordLog(output).read().values())

    def generate_served(
        self,
        server: PromptServer,
        tokenizer: TextTokenizer,
        prompts: Sequence[FusionExample],
        output: Path,
        describe: Callable[[str], Mapping[str, Any]] | None = None,
        *,
        model_fingerprint: str,
    ) -> list[dict[str, Any]]:
        """The records of `generate`, by a server that holds the model, asked by this process alone. Where the likeliest
        token is taken each time they are the same, up to rounding; samples are others.

        Raises:
            ValueError: as `generate`; beams; the server does not hold the model; or it has not answered some of the
                prompts, while the others' records are in `output`.
        """
        settings = self.settings
        check_settings(settings.num_beams, settings.names)
        ends = [tokenizer.eos_token_id]
        origin = made_with(self.settings, prompts, model_fingerprint, ends) | {"server_model": server.model}
        whole = len(_written(prompts, output)) == len(prompts)  # then the server may be gone
        self._check(prompts, None if whole else server.context())
        done, _ = self._completed(prompts, output, origin)
        missing = {example.query_id: example for example in prompts if example.query_id not in done}
        log, decoder, failures = RecordLog(output), self._decoder(tokenizer, ends), []

        def record(query_id: str, answers: Sequence[PromptAnswer]) -> dict[str, Any]:
            example = missing[query_id]
            own = [read_answer(answer, example, decoder, tokenizer) for answer in answers]
            return described(caption_record(example, own, tokenizer, self.settings.target_words), describe)

        requests = (
            prompt_request(example, decoder, settings.num_candidates, settings.seed) for example in missing.values()
        )
        with Progress(console=Console(stderr=True)) as shown, closing(server.results_together(requests)) as together:
            bar = shown.add_task("Writing captions", total=len(missing))
            for results in together:
                failures += [result for _, result in results if isinstance(result, Failure)]
                log.append(record(name, given) for name, given in results if not isinstance(given, Failure))
                shown.advance(bar, len(results))
        check_answered(failures, len(missing))
        merge_rank_files(output, [example.query_id for example in prompts], partial(self._choose, prompts))
        return list(RecordLog(output).read().values())

    def answer(
        self, model: nn.Module, tokenizer: TextTokenizer, prompts: Sequence[FusionExample]
    ) -> list[dict[str, Any]]:
        """The records of `generate`, without a file: this process writes all of them, and a kill loses them.

        Raises:
            ValueError: as `generate`.
        """
        self._check(prompts, context_of(model))
        with answering(model):
            writer = self._writer(model, tokenizer, self._room(model, prompts), [tokenizer.eos_token_id])
            batches = self._batches(prompts, writer.room)
            written = [record for batch in batches for record in self._answer(writer, tokenizer, batch)]
        of_query = {record["query_id"]: record for record in written}
        return self._choose(prompts, [of_query[example.query_id] for example in prompts])

    def _completed(
        self, prompts: Sequence[FusionExample], output: Path, origin: Mapping[str, Any], room: int = 0
    ) -> tuple[set[str], int]:
        """The ids of the queries that have a record, of this origin; and for how many answers there was room when they
        were begun, where that is found automatically.
        """
        automatic = self.settings.batch_size == "auto"
        kept = {"answers_at_a_time": room if automatic else None} if room else {}
        held = claim(output.with_suffix(".settings.json"), origin, existing_logs(output), kept).get("answers_at_a_time")
        return _written(prompts, output), max(1, held) if automatic and type(held) is int else room

    def _check(self, prompts: Sequence[FusionExample], context: int | None) -> None:
        settings = self.settings
        compares = settings.num_candidates > 1 and settings.consensus == "cider"
        check_prompts(prompts, context, settings.max_new_tokens, settings.target_words, compares)

    def _room(self, model: nn.Module, prompts: Sequence[FusionExample]) -> int:
        """For how many answers at a time, beams counted."""
        size, most = self.settings.batch_size, self.settings.max_new_tokens
        return answers_at_a_time(model, prompts, most) if isinstance(size, str) else size

    def _writer(self, model: nn.Module, tokenizer: TextTokenizer, room: int, ends: Collection[int]) -> AnswerWriter:
        settings = self.settings
        return AnswerWriter(model, self._decoder(tokenizer, ends), room, settings.num_beams, settings.seed)

    def _batches(self, prompts: Sequence[FusionExample], room: int) -> list[Batch]:
        """This process's share, longest first, so that the first batch shows whether memory suffices."""
        ordered = sorted(prompts, key=lambda example: -len(example.prompt_ids))[rank() :: world_size()]
        size = max(1, room // max(self.settings.num_candidates, self.settings.num_beams))
        return [ordered[start : start + size] for start in range(0, len(ordered), size)]

    def _answer(self, writer: AnswerWriter, tokenizer: TextTokenizer, batch: Batch) -> Iterator[dict[str, Any]]:
        """The records of a batch of queries, without what `describe` gives."""
        numbers = range(self.settings.num_candidates)
        answers = writer.write([(example, number) for example in batch for number in numbers])
        for position, example in enumerate(batch):
            own = answers[position * len(numbers) : (position + 1) * len(numbers)]
            yield caption_record(example, own, tokenizer, self.settings.target_words)

    def _decoder(self, tokenizer: TextTokenizer, ends: Collection[int]) -> Decoder:
        settings, pad = self.settings, tokenizer.pad_token_id
        return Decoder(
            end_of_turn=frozenset(ends),
            pad_token_id=min(ends) if pad is None else pad,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature if settings.do_sample else None,
            min_p=settings.min_p,
            is_long_enough=lambda answer: end_at_target(answer, tokenizer, self.settings.target_words) is not None,
            names=self._constraint(tokenizer, ends) if settings.names == "evidence" else None,
        )

    def _constraint(self, tokenizer: TextTokenizer, ends: Collection[int]) -> NameConstraint:
        """Made once: it reads the tokenizer's whole vocabulary."""
        if self._names is None or self._names[0] is not tokenizer or self._names[1].ends != set(ends):
            self._names = (tokenizer, NameConstraint(tokenizer, ends))
        return self._names[1]

    def _choose(self, prompts: Sequence[FusionExample], records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records with the choice among their candidates."""
        evidence = {example.query_id: example.evidence for example in prompts}
        return records if self._choice is None else self._choice.choose(records, evidence)


def _written(prompts: Sequence[FusionExample], output: Path) -> set[str]:
    """The ids of the queries that have a record."""
    return set(read_logs(existing_logs(output), [example.query_id for example in prompts]))

"""Real images have no known truth: a second model says of each sentence whether it holds for the two images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.answers import parse
from diptych.annotation.rates import share_interval
from diptych.annotation.task import VerificationTask
from diptych.annotation.verification_question import Verdict
from diptych.contracts.pipelines import Answer, Failure
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.questions import Inquiry
from diptych.storage.json_files import write_json
from diptych.storage.record_log import RecordFile, RecordLog

log = logging.getLogger(__name__)

AGREEMENT = "agreement.json"


class VerifySentences(AskStage):
    """Asks `asking`'s model about every sentence of the records in `sentences` (`{"pair_id", "sentences"}`).

    Records are `{"sentence_id", "pair_id", "sentence", "holds"}`; ids are `<pair id>/<place of the sentence>`.
    `agreement.json` holds the share that holds, with its 95 % interval (Wilson), and the counts of each pair.
    """

    record_key = "sentence_id"
    name = "verify_sentences"
    form = Verdict
    expected_tokens = 10
    runtime_settings = (*AskStage.runtime_settings, "sentences")

    def __init__(self, asking: Asking, task: VerificationTask, sentences: str | Path) -> None:
        super().__init__(asking, task)
        self.prompt, self.sentences = task.prompt, Path(sentences)

    def input_files(self) -> Sequence[Path]:
        """Pairs and sentences."""
        return [*super().input_files(), self.sentences]

    @cached_property
    def _sentences(self) -> dict[str, tuple[str, str]]:
        """Pair id and sentence by sentence id, in the order of the pairs."""
        records = RecordLog(self.sentences, "pair_id").read({"sentences": [str]})
        return {
            f"{pair.pair_id}/{place}": (pair.pair_id, sentence)
            for pair in self.pairs.values()
            for place, sentence in enumerate(records.get(pair.pair_id, {}).get("sentences", ()))
        }

    def ids(self) -> Sequence[str]:
        """All sentences, in the order of the pairs."""
        return list(self._sentences)

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The sentence, with the reference and then the target."""
        for name in ids:
            pair_id, sentence = self._sentences[name]
            pair = self.pairs[pair_id]
            yield Inquiry(name, {"sentence": sentence}, (pair.reference_image, pair.target_image))

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The verdict, with what it is about."""
        pair_id, sentence = self._sentences[inquiry.record_id]
        holds = parse(Verdict, answer).holds
        return {"sentence_id": inquiry.record_id, "pair_id": pair_id, "sentence": sentence, "holds": holds}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`agreement.json`; sentences without a verdict count in `unverified` only."""
        by_pair = {pair_id: {"holds": 0, "verified": 0} for pair_id in self.pairs}
        for record in RecordFile(folder, self.record_key).records().values():
            counts = by_pair[record["pair_id"]]
            counts["holds"] += record["holds"]
            counts["verified"] += 1
        holds, verified = (sum(counts[name] for counts in by_pair.values()) for name in ("holds", "verified"))
        share = holds / verified if verified else None
        interval = share_interval(holds, verified)
        content = {
            "model": self.asking.model,
            "prompt": self.prompt.fingerprint,
            "sentences": verified,
            "hold": holds,
            "share": share,
            "interval": interval,
            "unverified": len(failures),
            "pairs": by_pair,
        }
        write_json(folder / AGREEMENT, content, indent=1)
        if interval is not None:
            words = f"{100 * holds / verified:.1f} % [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
            log.info("%s agrees with %s of %d sentences", self.asking.model, words, verified)

"""Ways of annotating the same pairs, and the models behind them, side by side: quality, diversity and cost."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.audit import planted_line
from diptych.annotation.cost import Prices
from diptych.annotation.diversity import SAMPLE, text_diversity
from diptych.annotation.rates import rates_of
from diptych.annotation.spending import LEDGER, spending
from diptych.annotation.ways_table import ways_table
from diptych.contracts.models import Preprocessing
from diptych.contracts.pipelines import Failure, Result
from diptych.stages.annotation.describe_reference import DescribeReference
from diptych.stages.annotation.describe_target import DescribeTarget
from diptych.stages.annotation.one_stage import OneStage
from diptych.stages.annotation.write_modifications import WriteModifications
from diptych.stages.running.manifest import FILE as MANIFEST
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import fault_of
from diptych.storage.record_log import RecordFile, RecordLog

log = logging.getLogger(__name__)

WAYS = "ways.json"
_VERDICT = {"pair_id": str, "holds": bool}
_HOLDS = {"holds": ("held", "verified")}
_STAGES = {
    WriteModifications.name: (DescribeReference.name, DescribeTarget.name, WriteModifications.name),
    OneStage.name: (OneStage.name,),
}


class CompareWays(RecordStage):
    """One table over any number of `ways`, files of records (`{"pair_id", "sentences"}`) by name, of the pairs that all
    of them have sentences for. `ways.json` holds the records, and the table stands in the log. Records are
    `{"way", "model", "pairs", "common_pairs", "diversity", "cost", "no_cost", "verified", "audited"}`:

    - `diversity`: `text_diversity` of the sentences, with the tokens of `preprocessing` if there is one;
    - `cost`: `spending` on the ledger that lies where the annotating pipelines put it, or is named in `ledgers`. The
      model, and the stages that it was asked in, are those of the manifest beside the way's file. None where these are
      not known; `no_cost` says why;
    - `verified`: the share that a second model holds true, where `verified` names the way's file of verdicts;
    - `audited`: the rates of `audit`, AuditTriplets' file about the same ways, where there is one.
    """

    record_key = "way"

    def __init__(
        self,
        ways: Mapping[str, str | Path],
        prices: Prices | None = None,
        ledgers: Mapping[str, str | Path] | None = None,
        audit: str | Path | None = None,
        verified: Mapping[str, str | Path] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if not ways:
            raise ValueError("ways is empty: name at least one file of sentences, as three_stage=.../records.jsonl")
        for name, given in (("ledgers", ledgers), ("verified", verified)):
            if unknown := [way for way in given or {} if way not in ways]:
                raise ValueError(f"{name} names {', '.join(unknown)}, which is none of the ways {', '.join(ways)}")
        self.ways = {name: Path(path) for name, path in ways.items()}
        self.prices, self.preprocessing = prices or Prices({}), preprocessing
        self.ledgers = {name: Path(path) for name, path in (ledgers or {}).items()}
        self.audit = None if audit is None else Path(audit)
        self.verified = {name: Path(path) for name, path in (verified or {}).items()}

    def input_files(self) -> Sequence[Path]:
        """Sentences, verdicts and the audit."""
        return [*self.ways.values(), *self.verified.values(), *([] if self.audit is None else [self.audit])]

    @cached_property
    def _sentences(self) -> dict[str, dict[str, list[str]]]:
        """By way and pair, those that are there."""
        logs = {name: RecordLog(path, "pair_id").read({"sentences": [str]}) for name, path in self.ways.items()}
        return {name: {pair: r["sentences"] for pair, r in of.items() if r["sentences"]} for name, of in logs.items()}

    def ids(self) -> Sequence[str]:
        """The ways, as they were named."""
        return list(self.ways)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The record of each way; `no_sentences` where no pair has some of every way."""
        common = [p for p in next(iter(self._sentences.values())) if all(p in of for of in self._sentences.values())]
        audited = self._audit().get("ways", {})
        for way in ids:
            if not common:
                yield Failure(way, "no_sentences", "there is no pair that all ways have sentences for")
                continue
            own = self._sentences[way]
            model, cost, why = self._cost(way)
            yield {
                "way": way,
                "model": model,
                "pairs": len(own),
                "common_pairs": len(common),
                "diversity": text_diversity([own[pair] for pair in common], SAMPLE, preprocessing=self.preprocessing),
                "cost": cost,
                "no_cost": why,
                "verified": self._verified(way, common),
                "audited": audited.get(way),
            }

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`ways.json`, and its table in the log."""
        records = list(RecordFile(folder, self.record_key).records().values())
        planted = self._audit().get("planted", {})
        content = {**({"planted": planted} if planted else {}), "ways": {record["way"]: record for record in records}}
        write_json(folder / WAYS, content, indent=1, ascii_only=False)
        for record in records:
            if record["no_cost"]:
                log.warning("%s: what it cost is not known: %s", record["way"], record["no_cost"])
        if records:
            log.info("%s", "\n".join([*([planted_line(planted)] if planted else []), ways_table(content)]))

    def _audit(self) -> dict[str, Any]:
        """The content of `audit.json`; nothing where there is none."""
        if self.audit is None:
            return {}
        return read_json(self.audit, "run the audit again", shape={"ways": {str: dict}, "planted?": dict})

    def _cost(self, way: str) -> tuple[str | None, dict[str, Any] | None, str]:
        """The model, what it cost, and why that is not known."""
        folder = self.ways[way].parent
        manifest = read_json(folder / MANIFEST, missing_ok=True)
        shape = {"settings": {"asking": {"model": str}}}
        model = manifest["settings"]["asking"]["model"] if fault_of(manifest, shape) is None else None
        stages = _STAGES.get(str(manifest.get("stage"))) if model is not None else None
        if model is None or stages is None:
            return model, None, f"{folder / MANIFEST} names no model that was asked"
        ledger = self.ledgers.get(way, folder.parent.parent / LEDGER)
        try:
            return model, spending(ledger, stages, model, self.prices, max(1, len(self._sentences[way]))), ""
        except ValueError as error:
            return model, None, str(error)

    def _verified(self, way: str, pairs: Sequence[str]) -> dict[str, Any] | None:
        if way not in self.verified:
            return None
        counts = {pair: {"held": 0, "verified": 0} for pair in pairs}
        for verdict in RecordLog(self.verified[way], "sentence_id").read(_VERDICT).values():
            if verdict["pair_id"] in counts:
                counts[verdict["pair_id"]]["verified"] += 1
                counts[verdict["pair_id"]]["held"] += verdict["holds"]
        found: dict[str, Any] = rates_of(list(counts.values()), _HOLDS)["holds"]
        return found

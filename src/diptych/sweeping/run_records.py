"""What the runs below a folder left: status, overrides, metrics, and which of them mean the same."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.meanings import Meanings
from diptych.results.results_table import Cell, natural_order, protocol_facts, stored_number
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count, fault_of
from diptych.storage.json_values import encodable
from diptych.storage.run_status import FILE, Objective, RunStatus, read_status
from diptych.storage.yaml_files import read_yaml

log = logging.getLogger(__name__)

RESULT = "metrics.json"
AUDIT = "audit_triplets/audit.json"  # in the folder of a pipeline that audits annotations
_RETRIEVAL = ("recall_at_1", "average", "recall_at_5", "map_at_5", "recall_at_10", "median_rank")
_SHAPE = {  # of metrics.json
    "data": (str, [str]),
    "metrics": {str: (float, None)},
    "intervals?": {str: ([(float, None)], None)},
    "protocol?": dict,
    "gallery?": dict,
    "queries?": {"scored": Count, "expected": Count},
    "references_per_item?": [Count],
    "lines?": {str: str},
    "about?": {str: dict},
}
_CAPTIONS = ("cider", "clip_score", "entity_f1", "rouge_l", "meteor", "bleu_4")
USUAL = (*_CAPTIONS, *_RETRIEVAL)  # the first to look at; captions' results also say how well articles were found


@dataclass(frozen=True)
class RunRecord:
    """One run, or one evaluation of a checkpoint (which has no status).

    `name` is its path below the folder that was searched; `overrides` are those of its command line by key;
    `result` is the content of its metrics.json, None where it has none; `problem` says what could not be read.
    """

    name: str
    folder: Path
    status: RunStatus | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def state(self) -> str:
        """`done`, `failed: why`, `running at step 40, best val/recall_at_1 0.1234`, ... in one line."""
        status = self.status
        text = "done" if status is None else status.state
        if status and text == "failed":
            lines = (status.error or "its status names no reason").splitlines()
            text += f": {next((line.strip() for line in reversed(lines) if line.strip()), '')}"
        elif status and text in ("running", "stopped"):
            text += f" at step {status.step}" if status.step else ""
            objective = status.objective
            if objective and objective.value is not None:
                text += f", best {objective.metric} {objective.value:.4f}"
        elif self.result is None and not self.problem:
            text += "" if text == "waiting" else ", without metrics"
        return f"{text}; {self.problem}" if self.problem and status else self.problem or text

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """The metrics with their intervals, NaN for null; with the status's objective where no metric is that."""
        if self.result is None:
            return {}
        intervals = self.result.get("intervals") or {}
        found = {}
        for key, value in self.result["metrics"].items():
            bounds = intervals.get(key)
            interval = None
            if bounds is not None and None not in bounds and not any(map(math.isnan, bounds)):
                interval = (float(bounds[0]), float(bounds[1]))
            found[key] = Cell(stored_number(value), interval)
        if self._objective and self.primary and self.primary[0] not in found:
            found[self.primary[0]] = Cell(stored_number(self._objective.value))
        return found

    @cached_property
    def primary(self) -> tuple[str, str] | None:
        """Key and mode (`max`, `min`) of the metric that the run is judged by; None where it has none.

        It is that of the status (as metrics.json has it: without `val/`), else the protocol's, else a usual one.
        """
        if self.result is None:
            return None
        metrics = self.result["metrics"]
        objective = self._objective
        if objective:
            plain = objective.metric.removeprefix("val/")
            key = plain if plain in metrics else objective.metric
            return key, objective.mode or self.meaning(key).mode
        declared = (self.result.get("protocol") or {}).get("primary_metric")
        usual = declared if declared in metrics else next(iter(self.judged), None)
        return (usual, self.meaning(usual).mode) if usual else None

    @cached_property
    def judged(self) -> list[str]:
        """The metrics over all queries of which more, or less, is better, the usual ones first."""
        keys = [] if self.result is None else [key for key in self.result["metrics"] if "/" not in key]
        return usual_first(key for key in keys if self.meaning(key).better is not None)

    def meaning(self, key: str) -> MetricMeaning:
        """How the number under a key of `cells` is to be read, as the run's metrics.json says."""
        return self._meanings.of(key)

    @property
    def _objective(self) -> Objective | None:
        return None if self.status is None else self.status.objective

    @cached_property
    def _meanings(self) -> Meanings:
        return Meanings(self.result or {"metrics": {}})

    @cached_property
    def facts(self) -> dict[str, str]:
        """What the metrics mean, by name: two results compare only when all of these are equal. Empty without metrics.

        Retrieval: data, split, and the facts of the protocol and gallery. Captions: data, split, counts of queries and
        references, and per metric what it rests on.
        """
        return {} if self.result is None else result_facts(self.result)


def find_runs(folder: Path) -> list[RunRecord]:
    """The runs below the folder, or the run that it is, in natural order (2 before 10); links are not followed.

    A run is a folder with status.json, or with the metrics.json of an evaluation. Inside a run only `eval/` is looked
    through.

    Raises:
        ValueError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    records = []
    for place, names, files in os.walk(folder):
        record = _read_run(folder, Path(place)) if FILE in files or RESULT in files else None
        if record is not None:
            records.append(record)
        names[:] = [name for name in names if (name == "eval" if record else not name.startswith("."))]
    if not records:
        raise ValueError(f"{folder}: no run lies here: no folder below it has a {FILE} or an evaluation's {RESULT}")
    return sorted(records, key=lambda record: natural_order(record.name))


def group_names(records: Sequence[RunRecord]) -> dict[str, str]:
    """Run name -> name of its group (`A`, `B`, ... by first appearance): the runs whose metrics mean the same. Runs
    without metrics are in none.
    """
    seen: list[dict[str, str]] = []
    groups = {}
    for record in records:
        if record.result is not None:
            if record.facts not in seen:
                seen.append(record.facts)
            groups[record.name] = _letters(seen.index(record.facts))
    return groups


def usual_first(keys: Iterable[str]) -> list[str]:
    """Metrics in the order in which they are shown: the usual ones, then the others as they come, each once."""
    return sorted(dict.fromkeys(keys), key=lambda key: USUAL.index(key) if key in USUAL else len(USUAL))


def split_overrides(records: Sequence[RunRecord]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The overrides that all the records share, and per record the others. One record alone shares nothing."""
    if len(records) < 2:
        return {}, [record.overrides for record in records]
    first = records[0].overrides
    common = {
        key: value for key, value in first.items() if all(record.overrides.get(key) == value for record in records)
    }
    return common, [{key: value for key, value in record.overrides.items() if key not in common} for record in records]


def differing_overrides(records: Sequence[RunRecord]) -> tuple[list[dict[str, str]], dict[str, dict[str, str]]]:
    """The shared overrides of the runs and those of the evaluations (whose command lines are of another kind), and by
    run name what is its own.
    """
    shared: list[dict[str, str]] = []
    own: dict[str, dict[str, str]] = {}
    for kind in (True, False):
        same_kind = [record for record in records if (record.status is not None) is kind]
        common, others = split_overrides(same_kind)
        shared.append(common)
        own |= {record.name: other for record, other in zip(same_kind, others, strict=True)}
    return shared, own


def short_names(overrides: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Every key that occurs -> its last part, or the whole key where two end alike.

    `lr` of `system.optimizer.lr`, `~lr` where it was taken out.
    """
    keys = list(dict.fromkeys(key for words in overrides for key in words))
    ends = {key: "~" * key.startswith("~") + re.split(r"[~./@]", key)[-1] for key in keys}
    return {key: key if list(ends.values()).count(ends[key]) > 1 else ends[key] for key in keys}


def result_facts(result: dict[str, Any]) -> dict[str, str]:
    """See `RunRecord.facts`. Raises KeyError or TypeError for a record that no evaluation wrote."""
    data = result["data"] if isinstance(result["data"], str) else ", ".join(result["data"])
    facts = {"data": data, "split": str(result["split"])}
    if "protocol" in result:
        return facts | dict(protocol_facts(result))
    facts["queries"] = f"scored {result['queries']['scored']:,}/{result['queries']['expected']:,}"
    facts["references"] = " to ".join(str(count) for count in result.get("references_per_item", ()))
    return facts | {f"metric {name}": line for name, line in result["lines"].items()}


def _read_run(top: Path, folder: Path) -> RunRecord | None:
    """The run in the folder; None, with a warning, where metrics.json is not that of an evaluation."""
    status, result, problems = None, None, []
    words: Sequence[str] = ()
    try:
        status = read_status(folder)
        words = status.overrides if status else _hydra_overrides(folder)
    except ValueError as error:
        problems.append(f"unreadable: {error}")
    try:
        result = read_json(folder / RESULT, missing_ok=True)
        if result is None and status is not None:
            result = _of_pipeline(folder)
        if result is not None and (fault := _fault_of(result, status)) is not None:
            if status is None and not problems:
                log.warning("%s: not the result of an evaluation (%s); left out", folder / RESULT, fault)
                return None
            raise ValueError(f"{folder / RESULT}: not the result of an evaluation ({fault})")
    except ValueError as error:
        result = None
        problems.append(f"unreadable: {error}")
    name = encodable(str(folder.relative_to(top)) if folder != top else folder.name)
    overrides = {key: value for key, _, value in (word.lstrip("+").partition("=") for word in words)}
    return RunRecord(name, folder, status, overrides, result, "; ".join(problems) or None)


def _of_pipeline(folder: Path) -> dict[str, Any] | None:
    """What the stages of a pipeline left in their folders: the captions' evaluation, else how well articles were found,
    else how true annotations are, in the form of an evaluation; None where nothing was measured.
    """
    captions = read_json(folder / "write_captions" / RESULT, missing_ok=True)
    shape = {"split": str, "queries": Count, "metrics": {"articles": {str: (float, None)}, str: {str: (float, None)}}}
    found = read_json(folder / "articles" / RESULT, missing_ok=True, shape=shape)
    if captions is not None:
        return captions
    if found is None:
        return _of_audit(folder)
    values = {f"{name}/{key}": value for name, of in found["metrics"].items() for key, value in of.items()}
    values |= {key: values.pop(f"articles/{key}") for key in found["metrics"]["articles"]}
    queries = {"scored": found["queries"], "expected": found["queries"]}
    data = found.get("data", "articles")
    return {"data": data, "split": found["split"], "queries": queries, "lines": {}, "metrics": values}


def _of_audit(folder: Path) -> dict[str, Any] | None:
    """The rates of an audit of annotations, those of each way behind its name, in the form of an evaluation."""
    shape = {"pairs": Count, "not_audited": Count, "ways": {str: {str: {"rate": (float, None)}}}}
    found = read_json(folder / AUDIT, missing_ok=True, shape=shape)
    if found is None:
        return None
    values = {f"{way}/{name}": one["rate"] for way, rates in found["ways"].items() for name, one in rates.items()}
    about = {key.split("/")[-1]: {"unit": "fraction", "better": "lower"} for key in values}
    about |= {"sentences_right": {"unit": "fraction", "better": "higher"}}
    queries = {"scored": found["pairs"], "expected": found["pairs"] + found["not_audited"]}
    return {"data": "pairs", "split": "audited", "queries": queries, "lines": {}, "metrics": values, "about": about}


def _fault_of(result: Any, status: RunStatus | None) -> str | None:
    """Why the content of a metrics.json is not that of an evaluation, None where it is: all that a table shows of it
    can be had.
    """
    if (fault := fault_of(result, _SHAPE)) is not None:
        return fault
    try:
        record = RunRecord("", Path(), status, result=result)
        for key in (*record.cells, *record.facts):
            record.meaning(key)
        return None if record.primary is None or isinstance(record.primary[0], str) else "its primary metric is no text"
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        return f"{error!r:.200}"


def _hydra_overrides(folder: Path) -> list[str]:
    """The command line of what has no status: evaluations, and runs of earlier versions."""
    path = folder / ".hydra" / "overrides.yaml"
    words = read_yaml(path, missing_ok=True) or []
    if (fault := fault_of(words, [str])) is not None:
        raise ValueError(f"{path}: {fault}")
    return list(words)


def _letters(number: int) -> str:
    """A, ..., Z, AA, AB, ..."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)

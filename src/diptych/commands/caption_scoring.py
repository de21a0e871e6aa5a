"""What `evaluate.py` does with a checkpoint of the captioning system: write captions, score them, say where points go.

Beside the model's captions stand the baselines `base_caption` and `article_lead` (the article's first sentences), and
what an ablation asks for: `untuned` (the base model with the same prompts), `annotated_article` (in place of the
retrieved one), `whole_article` (in place of chosen chunks).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L

from diptych.contracts.news import ArticleLookup, CaptionItem, Evidence
from diptych.data.news.fusion_cache import FusionData, PreparedQuery
from diptych.data.news.news_datamodule import NewsDataModule
from diptych.data.news.prompt import evidence_text
from diptych.metrics.captions.article_retrieval import article_retrieval
from diptych.metrics.captions.overall import overall
from diptych.metrics.captions.record_metric import CaptionScores
from diptych.metrics.captions.unsupported_entity_rate import check_claims
from diptych.parallel.distributed import rank, world_size
from diptych.report.caption_cards import CaptionCard, EntitySpan
from diptych.report.caption_page import write_caption_report
from diptych.results.caption_evaluation import captions_record, print_caption_results, score_captions
from diptych.systems.caption_fuser import CaptionFuserSystem, CaptionJob
from diptych.systems.caption_generation import count_outcomes
from diptych.systems.post_processing import append_base_caption_words, repair_prompt_echo
from diptych.text.sentences import split_sentences

log = logging.getLogger(__name__)

ABLATIONS = {"evidence": ("annotated_article", "whole_article"), "untuned": ("untuned",)}
STEPS = ("repair_prompt_echo", "append_base_caption_words")
_LEAD_SENTENCES = 3


@dataclass(frozen=True)
class CaptionSet:
    """Captions of one kind: `prefix` of their metrics (empty: the model's own), items, and records if generated."""

    prefix: str
    items: Sequence[CaptionItem]
    records: Sequence[Mapping[str, Any]] = ()


def ablation_variants(ablation: str | Sequence[str] | None) -> list[str]:
    """The captions that are written beside the model's own.

    Raises:
        ValueError: an ablation is not known.
    """
    names = [ablation] if isinstance(ablation, str) else list(ablation or [])
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise ValueError(f"ablation={unknown[0]} is not one of {', '.join(ABLATIONS)}")
    return [variant for name in names for variant in ABLATIONS[name]]


def caption_and_score(
    trainer: L.Trainer,
    system: CaptionFuserSystem,
    datamodule: NewsDataModule,
    run_dir: Path,
    ablation: str | Sequence[str] | None = None,
    post_processing: Sequence[str] = (),
    **about: Any,
) -> None:
    """Writes the captions of the datamodule's test split, scores them, and leaves metrics.json, predictions.jsonl,
    scores.jsonl and the report; every process writes captions, the first one scores.
    """
    unknown = [step for step in post_processing if step not in STEPS]
    if unknown:
        raise ValueError(f"post_processing={unknown[0]} is not one of {', '.join(STEPS)}")
    data = {name: _data(datamodule, name) for name in ("", *ablation_variants(ablation))}
    weights = _fingerprint(system)
    system.jobs = [_job(name, of_name, run_dir, weights) for name, of_name in data.items()]
    if rank() == 0:
        run_dir.mkdir(parents=True, exist_ok=True)
        log.info("captions go to %s; if this is stopped, the same command with resume=%s goes on", run_dir, run_dir)
    trainer.test(system, datamodule=datamodule, verbose=False)
    if rank() == 0:
        about |= {"data": [datamodule.name], "split": datamodule.test_split, "world_size": world_size()}
        _score(system, datamodule, data, run_dir, post_processing, about)


# ---------------------------------------------------------------------------------------------------- writing


def _data(datamodule: NewsDataModule, variant: str) -> FusionData:
    source = "annotated" if variant == "annotated_article" else None
    return datamodule.split_data(datamodule.test_split, source, whole_article=variant == "whole_article")


def _job(variant: str, data: FusionData, run_dir: Path, weights: str) -> CaptionJob:
    output = run_dir / ("predictions.jsonl" if not variant else f"{variant}/predictions.jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    tuned = variant != "untuned"
    described = {query.query_id: _described(query) for query in data.queries()}
    prompts = [replace(data[int(position)], completion_ids=()) for position in data.first_examples]
    return CaptionJob(weights if tuned else "base model", prompts, output, described.__getitem__, tuned)


def _described(query: PreparedQuery) -> dict[str, Any]:
    """What a caption's record says of its evidence."""
    chunks = [[chunk.start, chunk.end, chunk.score] for chunk in query.evidence.chunks]
    return {"article_id": query.evidence.article_id, "chunks": chunks, "evidence": evidence_text(query.evidence)}


def _fingerprint(system: CaptionFuserSystem) -> str:
    """Stands for the adapter's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(system.model.adapter_state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------- scoring


def _score(
    system: CaptionFuserSystem,
    datamodule: NewsDataModule,
    data: Mapping[str, FusionData],
    run_dir: Path,
    steps: Sequence[str],
    about: dict[str, Any],
) -> None:
    prepared = {query.query_id: query for query in data[""].queries()}
    articles = datamodule.source.articles()
    sets = [_written(job.output, name, data[name], datamodule) for job, name in zip(system.jobs, data, strict=True)]
    main = sets[0]
    counts = {**data[""].gaps, **count_outcomes(main.records)}
    if datamodule.source.answers_hidden(datamodule.test_split):
        record = {**about, "queries": {"scored": 0, "expected": len(prepared)}, "counts": counts, "metrics": {}}
        record["lines"], scores = {}, {}
    else:
        sets += [_post_processed(main, step, prepared) for step in steps]
        sets += _baselines(main, prepared, articles)
        scores = score_captions(main.items, system.metrics)
        record = captions_record(scores, len(prepared), **about)
        if record["queries"]["scored"] != len(prepared):
            raise ValueError(f"{record['queries']['scored']} of {len(prepared)} captions were scored")
        record["counts"] = counts
        record["metrics"] |= _retrieval_metrics(datamodule, record["metrics"], len(prepared))
        for other in sets[1:]:
            of_other = captions_record(score_captions(other.items, system.metrics), len(prepared))["metrics"]
            record["metrics"] |= {f"{other.prefix}/{name}": value for name, value in of_other.items()}
    (run_dir / "metrics.json").write_text(json.dumps(record, indent=2) + "\n")
    own = _per_item(scores)
    lines = [json.dumps({"query_id": query_id, **own.get(query_id, {})}) for query_id in prepared]
    (run_dir / "scores.jsonl").write_text("\n".join(lines) + "\n")
    write_caption_report(run_dir / "report", record, _cards(main, prepared, articles, own, system.metrics))
    print_caption_results(record, run_dir)


def _written(path: Path, prefix: str, data: FusionData, datamodule: NewsDataModule) -> CaptionSet:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    captions = {record["query_id"]: record["caption"] for record in records}
    items = [
        CaptionItem(
            query_id=query.query_id,
            caption=captions[query.query_id],
            reference_captions=query.reference_captions,
            evidence_text=evidence_text(query.evidence),
            image_path=datamodule.source.image_path(datamodule.test_split, query.query_id),
        )
        for query in data.queries()
    ]
    return CaptionSet(prefix, items, records)


def _post_processed(main: CaptionSet, step: str, prepared: Mapping[str, PreparedQuery]) -> CaptionSet:
    def changed(item: CaptionItem) -> str:
        if step == "repair_prompt_echo":
            return repair_prompt_echo(item.caption)
        return append_base_caption_words(item.caption, prepared[item.query_id].base_caption)

    return CaptionSet(step, [replace(item, caption=changed(item)) for item in main.items])


def _baselines(main: CaptionSet, prepared: Mapping[str, PreparedQuery], articles: ArticleLookup) -> list[CaptionSet]:
    base = [replace(item, caption=prepared[item.query_id].base_caption) for item in main.items]
    lead = [replace(item, caption=_lead(prepared[item.query_id].evidence, articles)) for item in main.items]
    return [CaptionSet("base_caption", base), CaptionSet("article_lead", lead)]


def _lead(evidence: Evidence, articles: ArticleLookup) -> str:
    if evidence.article_id is None:
        return ""
    text = articles[evidence.article_id].text
    spans = split_sentences(text)[:_LEAD_SENTENCES]
    return " ".join(text[spans[0][0] : spans[-1][1]].split()) if spans else ""


def _retrieval_metrics(
    datamodule: NewsDataModule, metrics: Mapping[str, float | None], num_queries: int
) -> dict[str, float]:
    """How well the articles were found, where the split says which are right; EVENTA's overall with a CLIPScore."""
    annotated = {query.query_id: query.article_id for query in datamodule.source.queries(datamodule.test_split)}
    annotated = {query_id: article_id for query_id, article_id in annotated.items() if article_id is not None}
    if datamodule.evaluation_source != "retrieved" or not annotated:
        return {}
    candidates = datamodule.inputs.candidates(datamodule.test_split)
    found, _ = article_retrieval([candidates[query_id] for query_id in annotated], list(annotated.values()))
    if found and metrics.get("clip_score") is not None and metrics.get("cider") is not None:
        values = (found[name] for name in ("average_precision", "recall_at_1", "recall_at_10"))
        found["overall"] = overall(*values, metrics["clip_score"], metrics["cider"], num_queries, num_queries)
    return found


# ---------------------------------------------------------------------------------------------------- report


def _per_item(scores: Mapping[str, CaptionScores]) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for of_metric in scores.values():
        for name, values in of_metric.per_item.items():
            for query_id, value in zip(of_metric.query_ids, values, strict=True):
                found.setdefault(query_id, {})[name] = None if value != value else round(float(value), 6)
    return found


def _cards(
    main: CaptionSet,
    prepared: Mapping[str, PreparedQuery],
    articles: ArticleLookup,
    per_item: Mapping[str, Mapping[str, float | None]],
    metrics: Mapping[str, Any],
) -> list[CaptionCard]:
    judge = metrics.get("unsupported_entity_rate")
    captions = [item.caption for item in main.items]
    entities = judge.recognizer.entities(captions) if judge is not None else [()] * len(captions)
    records = {record["query_id"]: record for record in main.records}
    cards = []
    for item, found in zip(main.items, entities, strict=True):
        query, record = prepared[item.query_id], records[item.query_id]
        article_id = query.evidence.article_id
        checked = check_claims(item.caption, found, item.evidence_text or "") if judge is not None else []
        cards.append(
            CaptionCard(
                query_id=item.query_id,
                image_path=item.image_path,
                fused_caption=item.caption,
                base_caption=query.base_caption,
                reference_captions=item.reference_captions,
                article=articles[article_id] if article_id is not None else None,
                evidence=query.evidence,
                entities=tuple(
                    EntitySpan(claim.start, claim.end, "number" if claim.is_quantity else "name", supported)
                    for claim, supported in checked
                ),
                metrics={name: value for name, value in per_item.get(item.query_id, {}).items() if value is not None},
                stop_reason=record.get("stop_reason") or "",
                prompt_tokens=record.get("prompt_tokens"),
            )
        )
    return cards

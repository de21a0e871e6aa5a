"""What `evaluate.py` does with a checkpoint of the captioning system: write captions, score them, say where points go.

Beside the model's captions stand the baselines `base_caption` and `article_lead` (the article's first sentences), and
what an ablation asks for (`caption_variants`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning as L

from diptych.commands.caption_variants import MODEL, STEPS, Variant, ablation_variants
from diptych.commands.served_model import ServedModel
from diptych.config.building import in_sweep
from diptych.config.override_words import in_shell, override
from diptych.contracts.news import ArticleLookup, CaptionData, CaptionItem, Evidence, TextTokenizer
from diptych.contracts.retrieval import MetricMeaning
from diptych.data.news.fusion_cache import FusionData, PreparedQuery
from diptych.data.news.prompt import evidence_text
from diptych.metrics.captions.article_retrieval import ABOUT, article_retrieval
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.entity_matching import Claim
from diptych.metrics.captions.overall import overall
from diptych.parallel import checkpoints
from diptych.parallel.distributed import part_ways, rank, world_size
from diptych.ranking.fitted_protocol import beyond
from diptych.report.caption_cards import CaptionCard, EntitySpan
from diptych.report.caption_page import write_caption_report
from diptych.results.caption_evaluation import captions_record, reference_scores, score_captions
from diptych.results.caption_signatures import caption_signatures
from diptych.results.evidence_evaluation import checked_claims, evidence_scores, reference_claims
from diptych.results.record import EvaluationRecord
from diptych.results.signatures import said_of_few_articles
from diptych.stages.news.baseline_captions import LEAD_SENTENCES
from diptych.storage.json_files import read_json_lines
from diptych.storage.json_shapes import Count
from diptych.systems.caption_fuser import CaptionFuserSystem, CaptionJob, job_loader
from diptych.systems.caption_records import count_outcomes
from diptych.systems.sampled_candidates import take_candidates
from diptych.text.sentences import first_sentences

log = logging.getLogger(__name__)

_WRITTEN = {"caption": str, "stop_reason?": str, "prompt_tokens?": Count}


@dataclass(frozen=True)
class CaptionSet:
    """Captions of one kind: `prefix` of their metrics (empty: the model's own), items, and records if generated; then
    also `evidence_scores`, of what they were written from.
    """

    prefix: str
    items: Sequence[CaptionItem]
    records: Sequence[Mapping[str, Any]] = ()
    evidence_scores: Mapping[str, CaptionScores] = field(default_factory=dict)


def caption_and_score(
    trainer: L.Trainer,
    system: CaptionFuserSystem,
    datamodule: CaptionData,
    split: str,
    run_dir: Path,
    ablation: str | Sequence[str] | None = None,
    post_processing: Sequence[str] = (),
    served: ServedModel | None = None,
    candidates: str | Path | None = None,
    **about: Any,
) -> None:
    """Writes the captions of a split, scores them, and leaves metrics.json, predictions.jsonl,
    scores.jsonl and the report; every process writes captions, the first one scores. Of a model that is `served` this
    process has read nothing, and asks alone. With `candidates`, the folder of an earlier evaluation, the model's own
    are chosen from its samples (see `take_candidates`).
    """
    unknown = [step for step in post_processing if step not in STEPS]
    if unknown:
        raise ValueError(f"post_processing={unknown[0]} is not one of {', '.join(STEPS)}")
    variants = {"": MODEL, **ablation_variants(ablation)}
    if rank() == 0:
        resumed = in_shell(override("resume", run_dir))
        log.info("captions go to %s; if this is stopped, the same command with %s goes on", run_dir, resumed)
    if candidates is not None:  # every process, as none may begin without: the bytes are the same
        take_candidates(captions_file(Path(candidates), ""), captions_file(run_dir, ""), system.generator.settings)
    write_captions(trainer, system, datamodule, split, run_dir, variants, served)
    first, processes = rank() == 0, world_size()
    if not in_sweep():
        part_ways()
    if first:
        about |= {"world_size": processes}
        score_written(system, datamodule, split, run_dir, variants, post_processing, **about)


def write_captions(
    trainer: L.Trainer,
    system: CaptionFuserSystem,
    datamodule: CaptionData,
    split: str,
    run_dir: Path,
    variants: Mapping[str, Variant],
    served: ServedModel | None = None,
) -> None:
    """Writes the captions of a split, of each of the variants (`""`: the model's own), every process its share; what is
    written is not written again.
    """
    weights, tokenizer = served.weights if served else _fingerprint(system), datamodule.tokenizer
    jobs = [
        _job(
            variant.data(datamodule, split), tokenizer, captions_file(run_dir, name), weights if variant.tuned else None
        )
        for name, variant in variants.items()
    ]
    if served is None:
        trainer.test(system, dataloaders=job_loader(jobs), verbose=False)
        return
    for job in jobs:
        system.generator.generate_served(
            served.server, tokenizer, job.prompts, job.output, job.describe, model_fingerprint=job.model
        )


def captions_file(run_dir: Path, variant: str) -> Path:
    """Where the captions of a variant are written."""
    return run_dir / variant / "predictions.jsonl"


def score_written(
    system: CaptionFuserSystem,
    datamodule: CaptionData,
    split: str,
    run_dir: Path,
    variants: Mapping[str, Variant],
    post_processing: Sequence[str] = (),
    **about: Any,
) -> None:
    """Scores the captions that `write_captions` has written, and leaves metrics.json, scores.jsonl and the report."""
    data = {name: variant.data(datamodule, split) for name, variant in variants.items()}
    sets = [_written(captions_file(run_dir, name), name, data[name], datamodule, split) for name in data]
    if not datamodule.source.answers_hidden(split):
        sets = _with_evidence_scores(sets, data, datamodule, split, system.metrics)
    about = {"world_size": world_size(), **about, "data": [datamodule.name], "split": split}
    _score(system, datamodule, data[""], sets, run_dir, post_processing, about)


# ---------------------------------------------------------------------------------------------------- writing


def _job(data: FusionData, tokenizer: TextTokenizer, output: Path, weights: str | None) -> CaptionJob:
    """`weights` name the adapter's; None writes with the base model."""
    output.parent.mkdir(parents=True, exist_ok=True)
    described = {query.query_id: _described(query) for query in data.queries()}
    base_captions = {query.query_id: query.base_caption for query in data.queries()}
    prompts = []
    for position in data.first_examples:
        example = data[int(position)]
        about = described[example.query_id]
        own = {"evidence": about["evidence"], "target_words": about.get("target_words")}
        base_caption = base_captions[example.query_id]
        prompts.append(replace(example, completion_ids=(), base_caption=base_caption, **own))
    tuned = weights is not None
    return CaptionJob(weights or "base model", prompts, tokenizer, output, described.__getitem__, tuned)


def _described(query: PreparedQuery) -> dict[str, Any]:
    """What a caption's record says of its evidence."""
    chunks = [[chunk.start, chunk.end, chunk.score] for chunk in query.evidence.chunks]
    length = {} if query.target_words is None else {"target_words": query.target_words}
    evidence = evidence_text(query.evidence)
    return {"article_id": query.evidence.article_id, "chunks": chunks, "evidence": evidence, **length}


def _fingerprint(system: CaptionFuserSystem) -> str:
    """Stands for the adapter's weights."""
    return checkpoints.fingerprint(system.model.adapter_state_dict())


# ---------------------------------------------------------------------------------------------------- scoring


def _score(
    system: CaptionFuserSystem,
    datamodule: CaptionData,
    data: FusionData,
    sets: Sequence[CaptionSet],
    run_dir: Path,
    steps: Sequence[str],
    about: dict[str, Any],
) -> None:
    prepared = {query.query_id: query for query in data.queries()}
    articles = datamodule.source.articles()
    metrics = system.metrics
    main = sets[0]
    hidden = datamodule.source.answers_hidden(about["split"])
    scores = {} if hidden else {**score_captions(main.items, metrics), **main.evidence_scores}
    record = captions_record(scores, main.items, with_predictions=False, **about)
    record.counts = {**data.gaps, **count_outcomes(main.records)}
    if not hidden:
        if record.num_scored != len(prepared):
            raise ValueError(f"{record.num_scored} of {len(prepared)} captions were scored")
        _add_retrieval(record, datamodule, about["split"])
        processed = [_post_processed(main, step, prepared) for step in steps]
        sets = [*sets, *processed, *_baselines(main, prepared, articles)]
        for other in sets[1:]:
            of_other = {**score_captions(other.items, metrics), **other.evidence_scores}
            values = captions_record(of_other, other.items).metrics
            record.metrics |= {f"{other.prefix}/{name}": value for name, value in values.items()}
        record.metrics |= reference_scores(main.items, metrics)
        record.signatures = [*(record.signatures or ()), *caption_signatures(record.metrics)]
    record.write(run_dir)
    claims = checked_claims(metrics, main.items) or [()] * len(main.items)
    cards = _cards(main, prepared, articles, record, claims)
    write_caption_report(run_dir / "report", record.content(), cards)
    record.print(run_dir)


def _written(path: Path, prefix: str, data: FusionData, datamodule: CaptionData, split: str) -> CaptionSet:
    written = read_json_lines(path, "query_id", "delete the line, or the file", shape=_WRITTEN)
    records = list(written.values())
    captions = {query_id: record["caption"] for query_id, record in written.items()}
    if absent := [query.query_id for query in data.queries() if query.query_id not in captions]:
        raise ValueError(f"{path}: {len(absent)} captions are missing, first {absent[0]!r}; run the command again")
    items = [
        CaptionItem(
            query_id=query.query_id,
            caption=captions[query.query_id],
            reference_captions=query.reference_captions,
            evidence_text=evidence_text(query.evidence),
            image_path=datamodule.source.image_path(split, query.query_id),
        )
        for query in data.queries()
    ]
    return CaptionSet(prefix, items, records)


def _with_evidence_scores(
    sets: Sequence[CaptionSet],
    data: Mapping[str, FusionData],
    datamodule: CaptionData,
    split: str,
    metrics: Mapping[str, CaptionMetric],
) -> list[CaptionSet]:
    source = datamodule.source
    claims = reference_claims(metrics, {query.query_id: query.reference_captions for query in source.queries(split)})
    articles, facts = source.articles(), source.facts(split)
    return [
        replace(one, evidence_scores=evidence_scores(list(data[one.prefix].queries()), articles, claims, facts))
        for one in sets
    ]


def _post_processed(main: CaptionSet, step: str, prepared: Mapping[str, PreparedQuery]) -> CaptionSet:
    change = STEPS[step]
    items = [replace(item, caption=change(item.caption, prepared[item.query_id])) for item in main.items]
    return CaptionSet(step, items)


def _baselines(main: CaptionSet, prepared: Mapping[str, PreparedQuery], articles: ArticleLookup) -> list[CaptionSet]:
    base = [replace(item, caption=prepared[item.query_id].base_caption) for item in main.items]
    lead = [replace(item, caption=_lead(prepared[item.query_id].evidence, articles)) for item in main.items]
    return [CaptionSet("base_caption", base), CaptionSet("article_lead", lead)]


def _lead(evidence: Evidence, articles: ArticleLookup) -> str:
    if evidence.article_id is None:
        return ""
    return first_sentences(articles[evidence.article_id].text, LEAD_SENTENCES)


def _add_retrieval(record: EvaluationRecord, datamodule: CaptionData, split: str) -> None:
    """How well the articles were found, where the split says which are right; EVENTA's overall with a CLIPScore. With
    fewer than ten articles there is no recall at 10, and no overall.
    """
    queries = datamodule.source.queries(split)
    annotated = {query.query_id: query.article_id for query in queries if query.article_id is not None}
    if datamodule.evaluation_source != "retrieved" or not annotated:
        return
    candidates = datamodule.candidates(split)
    found, _ = article_retrieval([candidates[query_id] for query_id in annotated], list(annotated.values()))
    for name in (left_out := beyond(found, len(datamodule.source.articles()))):
        del found[name]
    if left_out:
        record.signatures = [said_of_few_articles(left_out)]
    record.meanings |= {name: MetricMeaning(*ABOUT[name]) for name in found}
    written = {name: record.metrics.get(name, math.nan) for name in ("clip_score", "cider")}
    if not left_out and not any(map(math.isnan, written.values())):
        parts = {name: found[name] for name in ("average_precision", "recall_at_1", "recall_at_10")} | written
        found["overall"] = overall(**parts, valid=record.num_scored, expected=record.num_scored)
        record.meanings["overall"] = MetricMeaning("score")
    record.metrics |= found


# ---------------------------------------------------------------------------------------------------- report


def _cards(
    main: CaptionSet,
    prepared: Mapping[str, PreparedQuery],
    articles: ArticleLookup,
    record: EvaluationRecord,
    claims: Sequence[Sequence[tuple[Claim, bool]]],
) -> list[CaptionCard]:
    values = {line["query_id"]: line for line in record.values}
    records = {record["query_id"]: record for record in main.records}
    cards = []
    for item, checked in zip(main.items, claims, strict=True):
        query, written = prepared[item.query_id], records[item.query_id]
        article_id = query.evidence.article_id
        own = {name: value for name, value in values.get(item.query_id, {}).items() if name != "query_id"}
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
                metrics={name: value for name, value in own.items() if not math.isnan(value)},
                stop_reason=written.get("stop_reason") or "",
                prompt_tokens=written.get("prompt_tokens"),
            )
        )
    return cards

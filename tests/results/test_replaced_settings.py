"""Replaced settings as rows: what differs, and nothing else."""

from diptych.results.replaced_settings import replaced_settings


def test_only_what_differs_has_a_row():
    result = {
        "replaced": {
            "generation": {"num_candidates": 8, "do_sample": True, "seed": 0},
            "metrics": ["cider", "length"],
            "prompt": {"words": 60, "instructions": {"task": "Say."}},
        },
        "replaced_from": {
            "generation": {"num_candidates": 1, "do_sample": False, "seed": 0},
            "metrics": ["cider"],
            "prompt": {"words": 60, "instructions": {"task": "Say.", "ratio": "70 / 30"}},
        },
    }
    assert replaced_settings(result) == [
        ("generation.num_candidates", "1", "8"),
        ("generation.do_sample", "false", "true"),
        ("metrics", "cider", "cider, length"),
        ("prompt.instructions.ratio", "70 / 30", "–"),
    ]


def test_nothing_was_replaced():
    assert (
        replaced_settings({})
        == replaced_settings({"replaced": {"a": {"b": 1}}, "replaced_from": {"a": {"b": 1}}})
        == []
    )
    assert replaced_settings({"replaced": {"generation": {"seed": 1}}}) == [("generation.seed", "–", "1")]

import pytest

from diptych.annotation.reviews import read_reviews


def test_the_last_decision_counts(tmp_path):
    path = tmp_path / "reviews.jsonl"
    path.write_text(
        '{"pair_id": "a", "sentence": null, "accepted": false}\n'
        '{"pair_id": "b", "sentence": "Add a lamp.", "accepted": true}\n\n'
        '{"pair_id": "b", "sentence": "Add a lamp.", "accepted": false, "by": "me"}\n'
        '{"pair_id": "a", "accepted": true}\n'
    )
    reviews = read_reviews(path)
    assert not reviews.rejects("a")
    assert reviews.rejects("b", "Add a lamp.")
    assert not reviews.rejects("b")


@pytest.mark.parametrize("line", ["[]", "{", '{"pair_id": "a", "accepted": 1}', '{"sentence": null, "accepted": true}'])
def test_other_lines_are_named(tmp_path, line):
    path = tmp_path / "reviews.jsonl"
    path.write_text(f'{{"pair_id": "a", "accepted": true}}\n{line}\n')
    with pytest.raises(ValueError, match=r"reviews\.jsonl:2: "):
        read_reviews(path)
    with pytest.raises(ValueError, match="is not there"):
        read_reviews(tmp_path / "absent.jsonl")

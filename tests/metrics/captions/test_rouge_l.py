import random

import numpy as np
import pytest

from diptych.metrics.captions.rouge_l import RougeL, bits_of, common_subsequence_length, rouge_l

# pycocoevalcap 1.2 with its Java tokenizer on the captions of conftest.py.
PER_ITEM = [0.7384987893462469, 1.0, 0.7587064676616916, 0.0, 0.6288659793814433]


def table(first: list[int], second: list[int]) -> int:
    """The usual way, row by row."""
    row = [0] * (len(second) + 1)
    for token in first:
        diagonal = 0
        for position, other in enumerate(second, start=1):
            diagonal, row[position] = (
                row[position],
                diagonal + 1 if token == other else max(row[position], row[position - 1]),
            )
    return row[-1]


def test_small_golden_captions(predictions, reference_captions):
    corpus, per_item = rouge_l(predictions, reference_captions)
    assert corpus == pytest.approx(0.6252142472778763, abs=1e-12)
    np.testing.assert_allclose(per_item, PER_ITEM, atol=1e-12)


def test_golden_scores(golden):
    content = golden("scores.json")
    corpus, per_item = rouge_l(content["predictions"], content["references"])
    assert corpus == pytest.approx(content["rouge_l"]["corpus"], abs=1e-6)
    np.testing.assert_allclose(per_item, content["rouge_l"]["per_item"], atol=1e-6)


def test_common_subsequence_by_bits_equals_the_table():
    generator = random.Random(0)
    for _ in range(300):
        first, second = (
            [generator.randrange(generator.choice((2, 5, 40))) for _ in range(generator.randrange(150))]
            for _ in range(2)
        )
        assert common_subsequence_length(second, bits_of(first), len(first)) == table(first, second)


def test_precision_and_recall_may_come_from_two_references():
    # Precision 3/4 from the first, recall 1/1 from the second.
    _, per_item = rouge_l(["a b c d"], [["a b c e f g", "d"]])
    assert per_item[0] == pytest.approx((1 + 1.44) * 0.75 / (1 + 1.44 * 0.75))


def test_empty_texts():
    _, per_item = rouge_l(["", "", "a", "."], [["a"], ["a", "!"], ["?", "a"], ["..."]])
    assert per_item.tolist() == [0, 1, 1, 1]


def test_metric(items):
    metric = RougeL()
    metric.update(items)
    scores = metric.compute()
    assert scores.corpus == {"rouge_l": pytest.approx(0.6252142472778763, abs=1e-12)}
    np.testing.assert_allclose(scores.per_item["rouge_l"], PER_ITEM, atol=1e-12)

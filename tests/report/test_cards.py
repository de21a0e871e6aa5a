"""Which queries the retrieval report shows."""

import pytest
from ranked_rooms import IMAGE_IDS, make_query, make_ranking

from diptych.report.cards import choose_queries, pair_with_queries


def test_choosing_never_takes_a_query_twice_and_has_a_fixed_seed():
    pairs = [(make_ranking(n, IMAGE_IDS, 1 + n % 5), make_query(n)) for n in range(25)]
    worst, drawn = choose_queries(pairs, num_worst=6, num_random=50)
    assert {query.query_id for _, query in worst + drawn} == {f"q{n}" for n in range(25)}
    assert [query.query_id for _, query in worst] == ["q4", "q9", "q14", "q19", "q24", "q3"]
    assert choose_queries(pairs, 6, 6) == choose_queries(pairs, 6, 6)


def test_a_ranking_of_an_unknown_query_is_refused():
    with pytest.raises(ValueError, match="'q7'"):
        pair_with_queries([make_ranking(7, IMAGE_IDS, 1)], [make_query(0)])

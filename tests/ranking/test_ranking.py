"""`rank` against an independent slow ranking: Python's sort, by score and then by gallery position."""

import pytest
import torch
from torch.nn.functional import normalize

from diptych.ranking import ranking
from diptych.ranking.ranking import rank

BYTES_FOR_SIXTEEN_QUERIES = 1  # less than any block needs: the smallest blocks
HUGE = 2**40


def integer_embeddings(rows: int, width: int, seed: int, largest: int = 1) -> torch.Tensor:
    """Small integers: all products are exact, and there are many ties."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, (rows, width), generator=generator).float()


def slow_order(query: torch.Tensor, gallery: torch.Tensor, excluded: int) -> list[int]:
    scores = [sum(a * b for a, b in zip(query.tolist(), image.tolist(), strict=True)) for image in gallery]
    return [p for p in sorted(range(len(gallery)), key=lambda p: (-scores[p], p)) if p != excluded]


def random_lists(num_queries: int, num_gallery: int, longest: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (num_queries,), generator=generator).tolist()
    return [torch.randperm(num_gallery, generator=generator)[:length].tolist() for length in lengths]


def assert_equals_slow_ranking(result, queries, gallery, k, relevant, excluded, members):
    assert result.positions.shape == result.scores.shape == (len(queries), min(k, len(gallery)))
    for row, query in enumerate(queries):
        order = slow_order(query, gallery, int(excluded[row]))
        found = [p for p in result.positions[row].tolist() if p >= 0]
        assert found == order[:k]
        torch.testing.assert_close(result.scores[row, : len(found)], gallery[found] @ query, rtol=0, atol=0)
        assert (result.scores[row, len(found) :] == -torch.inf).all()
        place = {position: number for number, position in enumerate(order, start=1)}
        assert result.relevant_ranks[row] == tuple(place.get(p) for p in relevant[row])
        assert list(result.member_order[row]) == [p for p in order if p in members[row]]


@pytest.mark.parametrize(
    ("num_queries", "num_gallery", "width", "k"),
    [(1, 1, 3, 1), (3, 7, 2, 5), (17, 33, 4, 50), (5, 64, 3, 64), (40, 63, 5, 10), (35, 700, 3, 9), (20, 641, 63, 3)],
)
@pytest.mark.parametrize("limit", [BYTES_FOR_SIXTEEN_QUERIES, HUGE])
def test_equals_slow_ranking_with_ties_and_exclusion(num_queries, num_gallery, width, k, limit):
    queries, gallery = integer_embeddings(num_queries, width, 0), integer_embeddings(num_gallery, width, 1)
    relevant = random_lists(num_queries, num_gallery, longest=5, seed=2)
    members = random_lists(num_queries, num_gallery, longest=6, seed=3)
    excluded = torch.randint(-1, num_gallery, (num_queries,), generator=torch.Generator().manual_seed(4))
    relevant[0] = [max(0, int(excluded[0]))]
    result = rank(
        queries, gallery, k=k, relevant=relevant, excluded=excluded, members=members, memory_limit_bytes=limit
    )
    assert_equals_slow_ranking(result, queries, gallery, k, relevant, excluded, members)


def test_few_ties_among_the_first_and_many_below():
    queries, gallery = integer_embeddings(30, 24, 5, largest=9), integer_embeddings(900, 24, 6, largest=9)
    relevant = [[row, 899 - row] for row in range(30)]
    result = rank(queries, gallery, k=12, relevant=relevant)
    nothing = [[] for _ in queries]
    assert_equals_slow_ranking(result, queries, gallery, 12, relevant, torch.full((30,), -1), nothing)


def test_equal_scores_everywhere_give_gallery_order():
    result = rank(torch.ones(20, 4), torch.ones(200, 4), k=7, relevant=[[0, 150, 199]] * 20)
    assert (result.positions == torch.arange(7)).all()
    assert result.relevant_ranks == ((1, 151, 200),) * 20


def test_excluded_position_has_no_rank_and_moves_the_others_up():
    queries, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    result = rank(queries, gallery, k=3, relevant=[[0, 1, 2]], excluded=torch.tensor([1]), members=[[2, 1, 0]])
    assert result.relevant_ranks == ((1, None, 2),)
    assert result.positions.tolist() == [[0, 2, -1]]
    assert result.scores.tolist() == [[3.0, 1.0, -torch.inf]]
    assert result.member_order == ((0, 2),)


@pytest.mark.parametrize("num_gallery", [7, 33, 100, 1001])
@pytest.mark.parametrize("num_queries", [1, 2, 3, 17, 64])
@pytest.mark.parametrize("width", [16, 63, 512])
def test_identical_gallery_vectors_tie(num_queries, num_gallery, width):
    generator = torch.Generator().manual_seed(width + num_gallery)
    queries = normalize(torch.randn(num_queries, width, generator=generator))
    gallery = normalize(torch.randn(num_gallery, width, generator=generator))
    copies = sorted({0, 1, num_gallery // 3, num_gallery // 2, num_gallery - 3, num_gallery - 2, num_gallery - 1})
    gallery[copies] = normalize(queries[:1] + 0.1)  # at or near the top for the first query
    result = rank(queries, gallery, k=num_gallery, relevant=[copies] * num_queries)
    for ranks, positions in zip(result.relevant_ranks, result.positions.tolist(), strict=True):
        assert list(ranks) == list(range(ranks[0], ranks[0] + len(copies)))
        assert [positions[place - 1] for place in ranks] == copies


def test_repeated_rows_are_those_that_are_equal_throughout():
    gallery = torch.tensor([[1.0, 2, 3], [4, 5, 6], [1, 2, 3], [1, 2, 4], [4, 5, 6], [1, 2, 3]])
    later, first = ranking._repeated_rows(gallery)
    assert sorted(zip(later.tolist(), first.tolist(), strict=True)) == [(2, 0), (4, 1), (5, 0)]


@pytest.mark.parametrize(("num_gallery", "width"), [(7, 63), (100, 16), (2297, 64)])
def test_size_of_blocks_changes_nothing(monkeypatch, num_gallery, width):
    generator = torch.Generator().manual_seed(num_gallery)
    queries = normalize(torch.randn(150, width, generator=generator))
    gallery = normalize(torch.randn(num_gallery, width, generator=generator))
    relevant = [[row % num_gallery, (5 * row + 1) % num_gallery] for row in range(150)]
    whole = rank(queries, gallery, k=50, relevant=relevant, memory_limit_bytes=HUGE)
    for max_queries in (16, 48, 80, 128):
        monkeypatch.setattr(ranking, "MAX_BLOCK_QUERIES", max_queries)
        blocked = rank(queries, gallery, k=50, relevant=relevant, memory_limit_bytes=HUGE)
        assert torch.equal(blocked.positions, whole.positions)
        assert torch.equal(blocked.scores, whole.scores)
        assert blocked.relevant_ranks == whole.relevant_ranks


def test_a_query_alone_ranks_as_among_others():
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(40, 48, generator=generator))
    gallery = normalize(torch.randn(300, 48, generator=generator))
    together = rank(queries, gallery, k=20, relevant=[[3]] * 40)
    for row in range(40):
        alone = rank(queries[row : row + 1], gallery, k=20, relevant=[[3]])
        assert torch.equal(alone.scores[0], together.scores[row])
        assert alone.relevant_ranks[0] == together.relevant_ranks[row]


def test_block_fits_the_memory_limit():
    for width in (64, 20_032, 123_456):
        for limit in (10**6, 10**8, 10**9):
            block = ranking._block_queries(4000, width, limit)
            assert block % ranking.ROW_MULTIPLE == 0
            assert block == ranking.ROW_MULTIPLE or block * width * 8 <= limit


def test_low_precision_around_it_does_not_reach_the_scores():
    generator = torch.Generator().manual_seed(0)
    queries, gallery = torch.randn(20, 256, generator=generator), torch.randn(90, 256, generator=generator)
    plain = rank(queries, gallery, k=5, relevant=[[]] * 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rank(queries, gallery, k=5, relevant=[[]] * 20)
    assert inside.scores.dtype == torch.float32
    assert torch.equal(inside.scores, plain.scores)


def test_half_precision_embeddings_are_scored_in_float32():
    queries, gallery = integer_embeddings(4, 8, 0).bfloat16(), integer_embeddings(50, 8, 1).bfloat16()
    result = rank(queries, gallery, k=5, relevant=[[]] * 4)
    torch.testing.assert_close(result.scores, (queries.float() @ gallery.float().T).sort(descending=True)[0][:, :5])


def test_no_queries():
    result = rank(torch.empty(0, 4), torch.ones(3, 4), k=2, relevant=[])
    assert result.positions.shape == (0, 2)
    assert result.relevant_ranks == ()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_values_that_are_not_finite(bad):
    spoiled = torch.ones(5, 3)
    spoiled[3, 1] = bad
    with pytest.raises(ValueError, match=r"query embeddings with NaN or infinite values: 1, first positions \[3\]"):
        rank(spoiled, torch.ones(5, 3), k=1, relevant=[[]] * 5)
    with pytest.raises(ValueError, match="gallery embeddings with NaN"):
        rank(torch.ones(5, 3), spoiled, k=1, relevant=[[]] * 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": torch.ones(4, 2)}, "must be"),
        ({"gallery": torch.ones(0, 3)}, "gallery of 0 images"),
        ({"k": 0}, "k=0"),
        ({"relevant": [[0]]}, "`relevant` has 1 entries for 2 queries"),
        ({"relevant": [[0], [4]]}, "`relevant` of query 1 is outside the gallery"),
        ({"members": [[-1], [0]]}, "`members` of query 0 is outside"),
        ({"excluded": torch.tensor([0, 4])}, "`excluded` must hold positions below 4"),
        ({"queries": torch.full((2, 3), 1e30), "gallery": torch.full((4, 3), 1e30)}, "overflow"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    given = {"queries": torch.ones(2, 3), "gallery": torch.ones(4, 3), "k": 2, "relevant": [[0], [1]]} | change
    with pytest.raises(ValueError, match=message):
        rank(**given)

"""From rankings to pairs, on paper."""

from diptych.annotation.failure_pairs import Ranked, choose_pairs, pairs_beside, pairs_of_failures, pairs_of_near_misses


def test_what_outranks_the_target_is_paired_with_the_reference_and_the_reference_with_the_target_the_other_way():
    ranked = Ranked("q", "r", "t", above=["a", "r", "b"])
    assert list(pairs_of_failures(ranked)) == [("r", "a"), ("t", "r"), ("r", "b")]
    assert list(pairs_of_near_misses(Ranked("q", "r", "t", [], below=["c", "r"]))) == [("r", "c"), ("t", "r")]


def test_beside_are_all_images_of_the_group_in_an_order_of_the_seed():
    ranked, group = Ranked("q", "r", "t", above=["a"]), ["r", "t", *"abcdefg"]
    drawn = list(pairs_beside(ranked, group, seed=0))
    assert sorted(drawn) == [("r", image) for image in "abcdefg"]
    assert drawn == list(pairs_beside(ranked, group[::-1], seed=0)) != list(pairs_beside(ranked, group, seed=1))


def candidates():
    return {"p": iter([("r", "a"), ("r", "b")]), "q": iter([("r", "b"), ("r", "c"), ("r", "d")]), "s": iter([])}


def test_the_worst_failure_of_every_query_comes_before_the_next_of_any():
    chosen, number = choose_pairs([candidates()], known=[("r", "d")], num_pairs=9, seed=0)
    assert {pair for _, pair in chosen[:2]} == {("r", "a"), ("r", "b")}
    assert [pair for _, pair in chosen[2:]] == [("r", "c")] and number == [3]  # b is there once, d has a text
    assert dict(chosen)["p"] == ("r", "a")


def test_no_more_than_the_budget_and_always_the_same():
    chosen, number = choose_pairs([candidates()], known=[], num_pairs=3, seed=5)
    assert len(chosen) == 3 and number == [4]
    backwards = dict(reversed(candidates().items()))
    assert choose_pairs([backwards], known=[], num_pairs=3, seed=5) == (chosen, number)
    firsts = {choose_pairs([candidates()], known=[], num_pairs=1, seed=seed)[0][0] for seed in range(9)}
    assert len(firsts) == 2  # whose turn it is first is drawn


def test_near_misses_come_behind_all_failures():
    near = {"q": iter([("r", "a"), ("r", "e")])}
    chosen, numbers = choose_pairs([candidates(), near], known=[], num_pairs=9, seed=0)
    assert chosen[-1] == ("q", ("r", "e")) and numbers == [4, 1]  # a is a failure of p

"""How much of each of many texts a budget of tokens allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CountTokens = Callable[[Sequence[str]], list[int]]


def largest_that_fit(
    sizes: Sequence[int], texts: Sequence[Callable[[int], str]], budgets: Sequence[int], count_tokens: CountTokens
) -> list[int]:
    """For each index the largest number up to its size for which its text of that number fits; 0 if none does.

    All are halved at the same time, so that tokens are counted for many texts at once.
    """
    low, high, probe = [0] * len(sizes), list(sizes), list(sizes)
    searched = [index for index, size in enumerate(sizes) if size]
    while searched:
        counts = count_tokens([texts[index](probe[index]) for index in searched])
        for index, count in zip(searched, counts, strict=True):
            if count <= budgets[index]:
                low[index] = probe[index]
            else:
                high[index] = probe[index] - 1
            probe[index] = (low[index] + high[index] + 1) // 2
        searched = [index for index in searched if low[index] < high[index]]
    return low

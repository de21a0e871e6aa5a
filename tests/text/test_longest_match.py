"""The scanner against `re`: on every short text, the longest match that any rule's pattern has."""

import itertools
import re

import pytest

from diptych.text.longest_match import LongestMatch, Rule

RULES = [
    Rule("a|ab", "shorter first"),
    Rule("[a-b]+c{2}", "repeated"),
    Rule("(ab){1,2}d?", "counted"),
    Rule("b*", "before c", "c"),
    Rule(r"\.[^a.]*", "sign"),
]


def longest(text: str, start: int) -> tuple[str | None, int]:
    best, found = (0, None), (None, start)
    for rule in RULES:
        for end in range(start + 1, len(text) + 1):
            both = re.compile(f"(?:{rule.pattern})(?:{rule.followed_by})")
            if end > best[0] and both.fullmatch(text, start, end):
                whole = re.compile(rule.pattern)
                inner = [e for e in range(start, end + 1) if whole.fullmatch(text, start, e)]
                rest = re.compile(rule.followed_by)
                best, found = (end, rule.name), (rule.name, max(e for e in inner if rest.fullmatch(text, e, end)))
    return found


def test_equals_the_longest_match_of_re_on_every_short_text():
    scanner = LongestMatch(RULES, {})
    for text in map("".join, itertools.product("abcd.", repeat=5)):
        rule, end, _ = scanner.match(text, 0, len(text))
        assert (rule.name if rule else None, end) == longest(text, 0), text


def test_the_answer_rests_on_what_was_looked_at_only():
    scanner = LongestMatch(RULES, {})
    for text in map("".join, itertools.product("abc.", repeat=4)):
        rule, end, rests_on = scanner.match(text, 0, len(text))
        for other in itertools.product("abc.", repeat=3):
            if rests_on <= len(text):
                longer = text[:rests_on] + "".join(other)
                assert scanner.match(longer, 0, len(longer))[:2] == (rule, end)


def test_definitions_and_cases():
    rules = [Rule("<sign><number>", "signed"), Rule("ski", "word"), Rule("[s]k", "as written")]
    scanner = LongestMatch(rules, {"sign": "[-+]?", "number": "(<digit>+)", "digit": str.isdecimal})
    ends = {"-12x": 3, "7": 1, "+": 0, "SKI": 3, "\u017fK\u0130": 3, "sk": 2, "SK": 0}
    assert {text: scanner.match(text, 0, len(text))[1] for text in ends} == ends


@pytest.mark.parametrize("pattern", ["(a", "a)"])
def test_unbalanced_brackets_are_refused(pattern):
    with pytest.raises(ValueError, match="bracket"):
        LongestMatch([Rule(pattern, "wrong")], {})

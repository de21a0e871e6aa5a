"""A scanner of regular rules that takes the longest match, as the generated scanners of lex, flex and JFlex do.

Python's `re` cannot: of two alternatives it takes the first that fits, not the longer one. Here all rules are read at
once by one automaton (positions after Glushkov, 1961), whose states are built when a text first leads to them.

A pattern is written as a regular expression of characters, `[sets]`, `(groups)`, `|`, `*`, `+`, `?`, `{n}` and `{n,m}`,
with backslashes before signs that shall stand for themselves. `<name>` is a pattern or a set with a name. A letter
outside brackets matches in both cases, inside brackets as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

CharacterSet: TypeAlias = Callable[[str], bool]

# What `<`...`>` names, a set in brackets, a repetition, an escaped sign, or one sign.
_TOKEN = re.compile(r"<(?P<name>\w+)>|\[(?P<set>(?:\\.|[^\]\\])+)\]|\{(?P<repeat>[\d,]+)\}|\\(?P<escaped>.)|.", re.S)
# The letters whose case pairs reach beyond ASCII: long s, the Kelvin sign, and the two Turkish letters i.
_CASES = {"s": "sS\u017f", "k": "kK\u212a", "i": "iI\u0131\u0130"}


@dataclass(frozen=True)
class Rule:
    """A pattern, what must follow it without being part of the match, and the name of what it finds."""

    pattern: str
    name: str
    followed_by: str = ""


@dataclass
class _Part:
    """A part of a rule: whether it matches nothing, and the positions that it can begin and end with."""

    empty: bool
    first: set[int]
    last: set[int]


class _State(dict[str, "_State"]):
    """Where the automaton may stand; as a dict, the next state by character, built when it is asked for.

    `rule` is the number of the first rule that ends here, -1 for none; nothing can follow on a state that is `last`.
    """

    __slots__ = ("_automaton", "_positions", "last", "rule")

    def __init__(self, automaton: _Automaton, positions: frozenset[int]) -> None:
        super().__init__()
        ended = [rule for position in positions if (rule := automaton.rule_of_end.get(position, -1)) >= 0]
        self._automaton, self._positions = automaton, positions
        self.rule = min(ended, default=-1)
        self.last = len(ended) == len(positions)

    def __missing__(self, character: str) -> _State:
        automaton = self._automaton
        sets, follow = automaton.set_of_position, automaton.follow
        holding = automaton.sets_holding(character)
        reached: set[int] = set()
        for position in self._positions:
            if sets[position] in holding:
                reached |= follow[position]
        state = self[character] = automaton.state(frozenset(reached))
        return state


class _Automaton:
    """The positions of some patterns, one set of characters each, and the states that are built of them."""

    def __init__(self, patterns: Sequence[str], definitions: Mapping[str, str | CharacterSet]) -> None:
        self.definitions = definitions
        self.set_of_position: list[int] = []
        self.follow: list[set[int]] = []
        self.rule_of_end: dict[int, int] = {}
        self._sets: list[CharacterSet] = []
        self._number_of_set: dict[str, int] = {}
        self._holding: dict[str, frozenset[int]] = {}
        self._states: dict[frozenset[int], _State] = {}
        begin: set[int] = set()
        for rule, pattern in enumerate(patterns):
            tokens = _tokens(pattern)
            part = self._then(self._alternatives(tokens), self._position("", lambda character: False))
            if tokens:
                raise ValueError(f"a bracket is closed that was not opened: {pattern}")
            (end,) = part.last
            self.rule_of_end[end] = rule
            begin |= part.first
        self.start = self.state(frozenset(begin))

    def state(self, positions: frozenset[int]) -> _State:
        if positions not in self._states:
            self._states[positions] = _State(self, positions)
        return self._states[positions]

    def sets_holding(self, character: str) -> frozenset[int]:
        if character not in self._holding:
            self._holding[character] = frozenset(number for number, has in enumerate(self._sets) if has(character))
        return self._holding[character]

    def _position(self, source: str, characters: CharacterSet) -> _Part:
        if source not in self._number_of_set:
            self._number_of_set[source] = len(self._sets)
            self._sets.append(characters)
        self.set_of_position.append(self._number_of_set[source])
        self.follow.append(set())
        here = {len(self.follow) - 1}
        return _Part(False, here, here)

    def _then(self, left: _Part, right: _Part) -> _Part:
        for position in left.last:
            self.follow[position] |= right.first
        return _Part(
            left.empty and right.empty,
            left.first | right.first if left.empty else left.first,
            left.last | right.last if right.empty else right.last,
        )

    def _alternatives(self, tokens: list[re.Match[str]]) -> _Part:
        """Reads tokens from the end of the list, up to a closing bracket."""
        whole: _Part | None = None
        branch = _Part(True, set(), set())
        while tokens and tokens[-1][0] != ")":
            if tokens[-1][0] == "|":
                tokens.pop()
                whole, branch = _either(whole, branch), _Part(True, set(), set())
            else:
                branch = self._then(branch, self._repeated(tokens))
        return _either(whole, branch)

    def _repeated(self, tokens: list[re.Match[str]]) -> _Part:
        begin = len(tokens)
        before = list(tokens)
        part = self._atom(tokens)
        sign = tokens[-1] if tokens else None
        if sign is not None and (sign[0] in ("*", "+", "?") or sign["repeat"]):
            tokens.pop()
            if sign["repeat"]:
                fewest, _, most = sign["repeat"].partition(",")
                atom = before[len(tokens) + 1 : begin]
                for number in range(1, int(most or fewest)):
                    again = self._atom(list(atom))
                    part = self._then(part, again if number < int(fewest) else _optional(again))
                return part if int(fewest) else _optional(part)
            if sign[0] in "*+":
                for position in part.last:
                    self.follow[position] |= part.first
            if sign[0] in "*?":
                part = _optional(part)
        return part

    def _atom(self, tokens: list[re.Match[str]]) -> _Part:
        token = tokens.pop()
        if token[0] == "(":
            part = self._alternatives(tokens)
            if not tokens:
                raise ValueError("a bracket is opened and not closed")
            tokens.pop()
            return part
        if token["name"]:
            definition = self.definitions[token["name"]]
            if callable(definition):
                return self._position(token[0], definition)
            return self._alternatives(_tokens(definition))
        if token["set"]:
            return self._position(token[0], _set(token["set"]))
        character = token["escaped"] or token[0]
        cases = _CASES.get(character.lower(), character.lower() + character.upper())
        return self._position("letter " + cases, cases.__contains__)


class LongestMatch:
    """The rules as one scanner. Building it takes a moment; so does each step that no text took before.

    Raises:
        ValueError: a pattern's brackets are not balanced.
    """

    def __init__(self, rules: Sequence[Rule], definitions: Mapping[str, str | CharacterSet]) -> None:
        self.rules = rules
        self._start = _Automaton([f"({rule.pattern})({rule.followed_by})" for rule in rules], definitions).start
        self._parts = {
            number: [_Automaton([pattern], definitions).start for pattern in (rule.pattern, rule.followed_by)]
            for number, rule in enumerate(rules)
            if rule.followed_by
        }

    def match(self, text: str, start: int, stop: int) -> tuple[Rule | None, int, int]:
        """The rule of the longest match at `start` (what must follow counts), the end of the match without what must
        follow, and the end of what the answer rests on: past `stop` where it rests on the text's ending there. No rule:
        None, `start`.
        """
        state, rule, end, position = self._start, -1, start, start
        while position < stop:
            state = state[text[position]]
            position += 1
            if state.rule >= 0:
                rule, end = state.rule, position
            if state.last:
                break
        else:
            position += 1
        if rule < 0:
            return None, start, position
        if rule in self._parts:
            end = self._without_what_follows(rule, text, start, end)
        return self.rules[rule], end, position

    def _without_what_follows(self, rule: int, text: str, start: int, end: int) -> int:
        """Where the pattern itself ends: as far on as possible."""
        state, following = self._parts[rule]
        ends = [start] if state.rule == 0 else []
        for position in range(start, end):
            state = state[text[position]]
            if state.rule == 0:
                ends.append(position + 1)
        for begin in reversed(ends):
            state = following
            for position in range(begin, end):
                state = state[text[position]]
            if state.rule == 0:
                return begin
        raise AssertionError(f"rule {self.rules[rule].name} matches {text[start:end]!r} but none of its beginnings")


def _tokens(pattern: str) -> list[re.Match[str]]:
    """The tokens of a pattern, the first at the end of the list."""
    return list(_TOKEN.finditer(pattern))[::-1]


def _either(left: _Part | None, right: _Part) -> _Part:
    return right if left is None else _Part(left.empty or right.empty, left.first | right.first, left.last | right.last)


def _optional(part: _Part) -> _Part:
    return _Part(True, part.first, part.last)


def _set(source: str) -> CharacterSet:
    """`a-z\\-]` and the like, all but these after a `^`."""
    held = re.compile(f"[{source}]")
    return lambda character: held.match(character) is not None

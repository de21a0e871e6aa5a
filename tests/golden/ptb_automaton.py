"""Whether our rules and Stanford's tokenizer accept the same texts with the same outcome: all texts, not a sample.

    python tests/golden/ptb_automaton.py

Its scanner is an automaton, whose tables its Java class holds; ours is one too. Both are walked side by side, over each
pair of states that any text leads to and each class of characters that either tells apart. Where they part, the
shortest text that shows it is printed. Needs a Java development kit besides pycocoevalcap: the tables are private.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycocoevalcap.tokenizer

from diptych.metrics.captions.ptb_rules import DEFINITIONS, RULES
from diptych.text.longest_match import LongestMatch

JAR = Path(pycocoevalcap.tokenizer.__path__[0]) / "stanford-corenlp-3.4.1.jar"
TABLES = ("ZZ_CMAP", "ZZ_ACTION", "ZZ_ROWMAP", "ZZ_TRANS", "ZZ_ATTRIBUTE")
START = 2  # the state that "traditional treebank" tokens start in
# The actions of the Java class by what ours are called; those that leave some of the match to be read again.
ACTIONS = {
    "as it is": {3, 9, 19, 24, 25, 31, 41, 42, 43, 44, 45, 48, 50, 52, 53},
    "word": {6, 12, 29, 30, 32, 40, 46},
    "with blanks": {27, 39},
    "with round brackets": {28, 34, 54},
    "with and": {37, 51},
    "one sign": {2, 10, 14, 15, 16, 17, 18, 20, 21, 22},
    "dash": {11},
    "hyphens": {4},
    "ellipsis": {13},
    "opening quote": {26, 35},
    "closing quote": {8, 36},
    "end of sentence": {33, 47, 49},
    "nothing": {1, 5, 7, 23},
}
LOOKING_AHEAD = {24, 25, 26, 30, 32, 34, 35, 36, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 53}
# Where the Java class finds what precedes a lookahead of any length: the first state, by action.
PRECEDING = {24: 13, 30: 3, 40: 5, 41: 16, 43: 15, 44: 9, 47: 7, 49: 11}
JAVA = """
import java.lang.reflect.*;
public class Tables { public static void main(String[] names) throws Exception {
  Class<?> scanner = Class.forName("edu.stanford.nlp.process.PTBLexer");
  StringBuilder out = new StringBuilder("{");
  for (String name : names) {
    Field field = scanner.getDeclaredField(name);
    field.setAccessible(true);
    Object table = field.get(null);
    out.append(out.length() > 1 ? ",\\"" : "\\"").append(name).append("\\":[");
    for (int i = 0; i < Array.getLength(table); i++) out.append(i > 0 ? "," : "").append(Array.getInt(table, i));
    out.append("]");
  }
  System.out.print(out.append("}"));
} }
"""


def tables() -> dict[str, list[int]]:
    """The scanner's tables by name."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Tables.java"
        source.write_text(JAVA)
        command = ["java", "-cp", str(JAR), str(source), *TABLES]
        loaded: dict[str, list[int]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return loaded


def pairs(found: dict[str, list[int]], theirs: int, ours: Any) -> Iterator[tuple[str, int, Any]]:
    """The shortest text to each pair of states, and the states; -1 where theirs has stopped."""
    holding = ours._automaton.sets_holding
    classes = {(found["ZZ_CMAP"][code], holding(chr(code))): chr(code) for code in reversed(range(65536))}
    texts, waiting = {(theirs, id(ours)): ""}, deque([(theirs, ours)])
    while waiting:
        theirs, ours = waiting.popleft()
        text = texts[theirs, id(ours)]
        yield text, theirs, ours
        for character in classes.values():
            row = theirs >= 0 and found["ZZ_ROWMAP"][theirs] + found["ZZ_CMAP"][ord(character)]
            following = (found["ZZ_TRANS"][row] if theirs >= 0 else -1), ours[character]
            if (following[0] >= 0 or following[1]._positions) and (following[0], id(following[1])) not in texts:
                texts[following[0], id(following[1])] = text + character
                waiting.append(following)


def compare(what: str, found: dict[str, list[int]], theirs: int, ours: Any, agree: Callable[[int, int], bool]) -> int:
    """Walks both; `agree` is asked of each pair that accepts, with their action (0: none) and our rule (-1: none)."""
    number = wrong = 0
    for text, state, own in pairs(found, theirs, ours):
        accepts = state >= 0 and found["ZZ_ATTRIBUTE"][state] & 1
        if not agree((found["ZZ_ACTION"][state] or -1) if accepts else 0, own.rule):
            wrong += 1
            sys.stdout.write(f"{what}: they part at {text!r}\n")
        number += 1
    sys.stdout.write(f"{what}: {number} pairs of states, {wrong} differences\n")
    return wrong


def same_outcome(action: int, rule: int) -> bool:
    """Whether both accept nothing, or our rule does what their action does."""
    if rule < 0 or not action:
        return rule < 0 and not action
    ahead = bool(RULES[rule].followed_by) == (action in LOOKING_AHEAD)
    return ahead and action in ACTIONS[RULES[rule].name]


def main() -> None:
    """Compares the scanners, and the parts before a lookahead."""
    found = tables()
    scanner = LongestMatch(RULES, DEFINITIONS)
    rule_of: dict[int, int] = {}

    def remember(action: int, rule: int) -> bool:
        if action in PRECEDING and rule >= 0:
            rule_of[rule] = action
        return same_outcome(action, rule)

    wrong = compare("all rules", found, START, scanner._start, remember)
    for rule, action in rule_of.items():
        part = scanner._parts[rule][0]
        what = f"{RULES[rule].pattern} before {RULES[rule].followed_by}"
        wrong += compare(what, found, PRECEDING[action], part, lambda theirs, ours: bool(theirs) == (ours >= 0))
    if wrong:
        raise SystemExit(f"{wrong} differences")


if __name__ == "__main__":
    main()

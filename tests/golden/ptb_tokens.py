"""Our caption tokens against those of Stanford's program as pycocoevalcap runs it, on texts in random neighbourhoods.

    python tests/golden/ptb_tokens.py [--texts 60000 --seed 0 --write]

The texts are lines of the generated newsroom, the captions of annotations where they lie beside the checkout, and
mixtures of what tokenizers get wrong, down to single signs. They are shuffled, since the next text counts, and read as
one corpus and as small ones. Ends with an error at the first difference. `--write` keeps hard cases for the tests that
run without Java, in tests/assets/golden/caption_metrics/hard_texts.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import string
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from diptych.metrics.captions.ptb_rules import DEFINITIONS, RULES
from diptych.metrics.captions.ptb_tokenizer import tokenize
from diptych.text.longest_match import LongestMatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import golden_files
from golden.caption_metrics import OUTPUT, texts_of_the_newsroom

SMALL_CORPORA = 12
WRITTEN = 300
# What is hard, by kind. Texts are made of these, of words, and of pieces and joints of them.
HARD = {
    "initials": ("A. B. H.G. U.S. U.K. J.R.R. I. a. p.m. a.m. U.S.-U.K. EU-U.S non-U.S. C.D.s Ph.D. e.g. S.p.A. X."),
    "contractions": (
        "don't won\u2019t can't rush'n. it's I'm they\u2019ve she'd we'll N'T doesn`t ain\u2018t cannot gonna "
        "Gotta lemme gimme wanna 'tis 'twas y'all 'em 'n' ol' o'clock O'Brien Qur'an Shi'ite d'Avignon "
        "rock'n'roll c'est 'til 'cause ma'am somethin' Dunkin' nat'l cont'd. c'mon '80s '08 James' l'hasard "
        "&apos;s n&apos;t s'mores e'er E'er"
    ),
    "apostrophes": (
        "Hawai\u2018i O\u2018ahu don`t do\u201bnt Hawai\u02bbi ma\u02bcam l\xb4eau Qur\u02bean it\u2032s can\uff07t "
        "rock\u2018n\u2019roll \u2018tis \u201b90s o\u02bbclock d\u02bcAvignon O`o n\u02bct she\u02bcd `s \xb4s "
        "James\u02bc \u2018em\u2019 ``a\xb4\xb4 \u2033 \u02ee \u02c8a \ua78ca \u05f3 \u07f4"
    ),
    "numbers": (
        "1 12 123 1234 12345 1,000 3.5 .5 -5 +3 1/2 3/4 1\u20442 \xbd \u2154 12:55 1990s 5th 2\xbd \xb2 "
        "\u2082\u2083 12-13 10-year-old 27/02/2022 2022-02-27 1-2-03 (212) 555-1234 020 7946 0958 +44 "
        "555.123.4567 1\\/2 \u0663\u066b\u0665 \uff11\uff12 24/7 5% $5 US$5 \xa33.20 \u20ac4.5bn 5\xa2 \xa5 # #1 "
        "## No. 5 \u20b95 \u20a93 R$5m A$2 HK$ \u20bd \u20bf5 5\u20ac \u22125 \u20135 \u00b15 \u2776 "
        "\u2460 \u2155 5\u2030"
    ),
    "addresses": (
        "http://t.co/AbC1, https://a.b/c(d)e www.bbc.co.uk. example.com/x me@x.org <me@x.org> &lt;a@b&gt; @user "
        "#Tag #caf\xe9 file.txt a.b.html, x.c C++ C# f# readme.PDF! http:// www.a.b"
    ),
    "joints": (
        "- -- --- ---- ----- _ / \\ . .. ... .... ..... ...... \u2026 . . . , ; : ? ! ?! !! & &amp; + ~ * ** \\* "
        "= \u2013 \u2014 \u2015 \u2010 \u2011 \xad \xb7 \u2022 | ^ ' '' ` `` \" &quot; \u201c \u201d \u2018 "
        "\u2019 \u201e \xab \xbb \u2039 \u203a ( ) [ ] { } < > << >> &lt; &gt; &nbsp; &mdash; &MD; &HT; &#39; "
        "&eacute; &Auml;n &euml "
        "\u2023 \u25aa \u2043 \u2212 \u2e3a \ufe58 \uff0d"
    ),
    "names": (
        "AT&T R&amp;D S&P-500 B&B. A+B REUTERS/John AP Photo/Ann and/or he/she a/b/c/d F-16 Covid-19 a_b x-y. "
        "pro-U.S. anti- -LRB- mid-1990s. U.K.-basedcaf\xe9 U.S.-ledvote e.g.caf\xe9 Ph.D.-level a.m.-p.m "
        "non-U.S.citizen St.-Denis Inc.-owned co.uk-based."
    ),
    "smileys": (
        ":) :-( ;D :D =p :'( <:o) ^_^ -_- x_x (^_^) >_< (-.-) \U0001f600 \U0001f44d\U0001f3fd \u2764\ufe0f \u263a "
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1ec\U0001f1e7 \U0001f3f4\u200d\u2620\ufe0f 1\ufe0f\u20e3 "
        "a\U0001f600b \U0001f9d1\U0001f3ff\u200d\U0001f680 >_> <_< =_= (>_<) x_X \u2639\ufe0e"
    ),
    "tags": ("<b> </b> <br/> <br /> <a href=\"x\"> <!-- no --> <!DOCTYPE a> <?xml?> <p class='y z'> < b > </a/> <1>"),
    "letters": (
        "caf\xe9 Z\xfcrich \u0141\xf3d\u017a \u6771\u4eac na\xefve \u041a\u0438\u0457\u0432\u2019s \u0130stanbul "
        "\u0131 \u017fo \u212a \u1e9e \u03b1\u03c2 \u0e01\u0e33 \u0915\u094d\u0937 \u05e9\u05b8 cafe\u0301 "
        "\u24b6 \u2160 \ufb01 \xaa \xb5 \u3001 \u3002 \u3042\u30fc \ua78f \u1c80 \u13a0"
    ),
    "blanks": ("\xa0 \u2003 \u3000 \x09 \u200b \ufeff \u2028 \x0b \x85 \x00 \x7f \x91 \x92 \x93 \x94 \x96 \x80 \x01"),
}


def real_texts() -> list[str]:
    """Captions and article lines: of the newsroom, and of the annotations of others where they are."""
    predictions, references, lines = texts_of_the_newsroom()
    texts = predictions + [text for of_item in references for text in of_item] + lines
    try:
        folder = golden_files.beside_the_checkout("real")
    except BaseException:  # pytest's skip
        return texts
    for path in sorted(folder.rglob("*.json")):
        if "split" not in str(path):
            texts += _strings(json.loads(path.read_text(encoding="utf-8")))
    return texts


def _strings(content: object) -> list[str]:
    if isinstance(content, str):
        return [content] if " " in content else []
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return [text for value in inner for text in _strings(value)]


def generated_texts(number: int, real: Sequence[str], draw: random.Random) -> list[str]:
    """Mixtures of hard pieces, words and single signs, with real pieces between."""
    lists = " ".join(str(DEFINITIONS[name]) for name in ("shortened", "before_name", "starter", "file"))
    listed = re.findall(r"[A-Za-z][A-Za-z.]+", lists.replace("[", "").replace("]", ""))
    kinds = [text.split(" ") for text in HARD.values()]
    kinds += [listed, [word + "." for word in listed], ["The", "A", "He", "In", "It", "We", "\xc9t\xe9"]]
    signs = list(string.printable[:95]) + [sign for kind in kinds for piece in kind for sign in piece]
    words = [word for text in draw.sample(list(real), min(len(real), 2000)) for word in text.split()]

    def piece() -> str:
        chance = draw.random()
        if chance < 0.55:
            return draw.choice(draw.choice(kinds))
        if chance < 0.75:
            return draw.choice(words)
        if chance < 0.85:
            return "".join(draw.choices(signs, k=draw.randrange(1, 7)))
        part = draw.choice(draw.choice(kinds))
        return draw.choice((part.upper(), part.lower(), part.capitalize(), part[:-1], part[1:], part + part))

    joints = ("", " ", " ", " ", "  ", ".", ". ", ", ", "-", "'s ")
    return ["".join(piece() + draw.choice(joints) for _ in range(draw.randrange(9))) for _ in range(number)]


def shortest_texts() -> list[str]:
    """For each state of our automaton the shortest text that leads there, with and without a word after it."""
    start = LongestMatch(RULES, DEFINITIONS)._start
    signs = [
        chr(code) for code in (*range(32, 127), 9, 0xA0, 0xAD, 0x85, 0x2019, 0x2018, 0x201C, 0xE9, 0x2026, 0xBD, 0x663)
    ]
    texts, waiting = {id(start): ""}, deque([start])
    while waiting:
        state = waiting.popleft()
        for sign in signs:
            following = state[sign]
            if following._positions and id(following) not in texts:
                texts[id(following)] = texts[id(state)] + sign
                waiting.append(following)
    return [text + end for text, end in zip(texts.values(), itertools.cycle(("", " x", ". The")), strict=False)]


def comparable(text: str) -> bool:
    """Not a tag that might end in the next line: the evaluation then takes two captions for one."""
    return re.search(r"<[^>]*=\s*(\"[^\"]*|'[^']*)$|\[\^x=", text, re.IGNORECASE) is None


def tokens_of_stanford(texts: Sequence[str]) -> list[str]:
    """As pycocoevalcap gives them, joined by blanks."""
    # Other line breaks within a text shift the captions after them in the evaluation; to us they are blanks.
    lines = [re.sub("[\r\x0b\x0c\u2028\u2029]", " ", text) for text in texts]
    return PTBTokenizer().tokenize({0: [{"caption": text} for text in lines]})[0]


def differences(texts: Sequence[str]) -> list[tuple[int, str, str]]:
    """Where the tokens differ: the text's position, our tokens and theirs, joined by blanks."""
    theirs = tokens_of_stanford(texts)
    ours = [" ".join(tokens) for tokens in tokenize(texts)]
    if len(theirs) != len(ours):
        raise SystemExit(f"{len(texts)} texts gave {len(theirs)} lines of tokens: one of them holds a line break")
    pairs = enumerate(zip(ours, theirs, strict=True))
    return [(position, our, their) for position, (our, their) in pairs if our.split(" ") != their.split(" ")]


def main() -> None:
    """Compares, and prints how many texts there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    real = [text for text in real_texts() if comparable(text)]
    generated = [text for text in generated_texts(asked.texts, real, draw) if comparable(text)]
    texts = (draw.sample(real, min(len(real), asked.texts // 2)) + generated)[: asked.texts]
    generated = texts[min(len(real), asked.texts // 2) :]
    draw.shuffle(texts)
    corpora = [texts] + [draw.sample(texts, 3) for _ in range(SMALL_CORPORA)]
    for corpus in corpora:
        found = differences(corpus)
        for position, ours, theirs in found[:20]:
            text, following = corpus[position], corpus[position + 1 : position + 2]
            sys.stdout.write(f"text {text!r}, next {following!r}\n  ours   {ours!r}\n  theirs {theirs!r}\n")
        if found:
            raise SystemExit(f"{len(found)} of {len(corpus)} texts have other tokens than Stanford's")
    kept = len(texts) - len(generated)
    counts = f"{len(texts)} texts ({kept} real, {len(generated)} generated) and {SMALL_CORPORA} small corpora"
    sys.stdout.write(f"{counts}: 0 differences\n")
    if asked.write:
        hard = generated[:WRITTEN] + [text for text in shortest_texts() if comparable(text)]
        content = {"texts": hard, "text_tokens": tokens_of_stanford(hard)}
        (OUTPUT / "hard_texts.json").write_text(json.dumps(content, indent=0) + "\n")


if __name__ == "__main__":
    main()

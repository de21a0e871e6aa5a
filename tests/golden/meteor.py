"""METEOR against its authors' program as pycocoevalcap brings it: stems, words and scores, equal to the last digit.

    python tests/golden/meteor.py [--pairs 4000 --seed 0 --write]

Compared are the stems of all words of WordNet and of the table of paraphrases, and the scores, of each item and of the
corpus, with the first two, three and all four stages: captions of the newsroom, those of annotations where they lie
beside the checkout, and captions changed at random against references changed at random, hard texts among them. Ends
with an error at the first difference.

`--write` keeps what the program gives for the newsroom and for captions of our own with a made-up WordNet, in
tests/assets/golden/caption_metrics/meteor.json, for the tests that run without it. Needs a Java development kit: the
stemmer is no command.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycocoevalcap

from diptych.metrics.captions.meteor import meteor
from diptych.metrics.captions.meteor_alignment import STAGES
from diptych.metrics.captions.meteor_resources import MeteorResources
from diptych.metrics.captions.ptb_tokenizer import tokenize
from diptych.text.english_stemmer import english_stem

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden.caption_metrics import OUTPUT, texts_of_the_newsroom
from golden.ptb_tokens import comparable, generated_texts, real_texts
from meteor_folder import write_meteor_folder

FOLDER = Path(next(iter(pycocoevalcap.__path__))) / "meteor"
JAR = FOLDER / "meteor-1.5.jar"
STEMS = """
import java.io.*;
import org.tartarus.snowball.ext.englishStemmer;
public class Stems {
  public static void main(String[] names) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
    PrintStream out = new PrintStream(System.out, false, "UTF-8");
    englishStemmer stemmer = new englishStemmer();
    for (String word = in.readLine(); word != null; word = in.readLine()) {
      stemmer.setCurrent(word);
      stemmer.stem();
      out.println(stemmer.getCurrent());
    }
    out.flush();
  }
}
"""
ENDS = (
    "y", "Y'", "a", "e", "s", "ss", "us", "ied", "'s", "ed", "eed", "edly", "ing", "ingly", "at", "bl", "iz", "bb",
    "ll", "ational", "ization", "alli", "entli", "ful", "ness", "ogi", "logi", "li", "bli", "biliti", "lessli", "able",
    "ement", "ion", "sion", "tion", "ative", "icate", "gener", "commun", "arsen", "b", "w", "x",
)  # fmt: skip

Pairs = tuple[Sequence[str], Sequence[Sequence[str]]]
# With the made-up WordNet of meteor_folder.py. What each is about stands in the reference or is its only oddity.
CAPTIONS: list[tuple[str, list[str]]] = [
    ("A man rode a car.", ["A fellow went by auto on the road.", "The kid is riding a wagon"]),
    ("the children walk on the path", ["A child walked along the road", "children, walking"]),
    ("a photo of the street", ["The picture shows a street", "street photos of the 1990's", ""]),
    ("", ["", "a"]),
    ("the the the the the", ["the cat and the dog and the bird", "the the"]),
    ("a b a b a b a b a b c", ["b a b a b a b a c a b", "c b a"]),
    ("The G7 met in the town", ["The EU met in the city", "eu eu g7 g7"]),
    ("Many people in front of the gate", ["A lot of persons before the entrance.", "A number of the people"]),
    ("The rally took place in the city.", ["The gathering was held in town", "Rally: held in the town, the city"]),
    ("many many a lot of a lot of people", ["a number of a lot of many persons people"]),
    ("U.S.-based U.S. firms v. U.K.'s, vs. No. 5", ["us based us firms v uk 's vs no 5", "America's firm"]),
    ("well-known, rock'n'roll o'clock 3-5 1,000 1.5 $5", ["well known rock 'n' roll o 'clock 3 5 1000 1,000"]),
    ("boxes of glasses, buses and glass in a case", ["a box of glass; a bus", "cases"]),
    ("larger biggest big bigger large", ["large big larger", "big"]),
    ("men display displays displaying", ["a man shows; fellows show", "man man men"]),
    ("two dogs play in the snow", ["Dogs playing outdoors", "dogs playing in the snow", "dogs play in the snow, two"]),
    ("One day he said that he would ride out", ["He said he would go out", "out out out ride"]),
    ("on the street of the city at night", ["downtown by night, on the road", "at night of the city on the street"]),
    (
        "Caf\xe9 \u201cZ\xfcrich\u201d \u2013 \u0395\u039b\u039b\u0391\u03a3 \u6771\u4eac ... na\xefve",
        ["cafe z\xfcrich \u03b5\u03bb\u03bb\u03b1\u03c2", "\u6771\u4eac"],
    ),
    ("kindly kinds kindness kind relational relate", ["kind kindly relation relates", "generous generally general"]),
    ("photo picture show display photo", ["display show picture photo photo", "picture picture picture"]),
    ("the man a man man the a", ["a person person the man a man", "man the a the man"]),
    ("a", ["a", "a a"]),
    ("car", ["wagon auto car car", "the car"]),
]  # fmt: skip


def scores_of_the_program(pairs: Pairs, options: Sequence[str]) -> tuple[float, np.ndarray]:
    """Of the corpus, and of each item."""
    predictions, references = pairs
    captions = [" ".join(tokens) for tokens in tokenize(predictions)]
    of_references = iter(tokenize([text for texts in references for text in texts]))
    command = ["java", "-Xmx2G", "-jar", str(JAR), "-", "-", "-stdio", "-l", "en", "-norm", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as java:
        assert java.stdin is not None and java.stdout is not None

        def answer_to(*parts: str) -> str:
            java.stdin.write(" ||| ".join(parts) + "\n")
            java.stdin.flush()
            return java.stdout.readline().strip()

        statistics = [
            answer_to("SCORE", *(" ".join(next(of_references)) for _ in texts), caption)
            for caption, texts in zip(captions, references, strict=True)
        ]
        first = float(answer_to("EVAL", *statistics))
        values = [first, *(float(java.stdout.readline()) for _ in predictions)]
        java.stdin.close()
    return values[-1], np.array(values[:-1])


def modules(num_stages: int) -> list[str]:
    """The program's options for the first stages; none for all of them."""
    return ["-m", " ".join(STAGES[:num_stages])] if num_stages < len(STAGES) else []


def compare_scores(name: str, pairs: Pairs) -> None:
    """Raises SystemExit where a score differs."""
    resources = MeteorResources(FOLDER)
    for num_stages in (2, 3, 4):
        corpus, per_item = meteor(*pairs, resources, STAGES[:num_stages])
        expected, expected_per_item = scores_of_the_program(pairs, modules(num_stages))
        off = np.flatnonzero(per_item != expected_per_item)
        for item in off[:10]:
            sys.stdout.write(
                f"{pairs[0][item]!r} {list(pairs[1][item])!r}: {per_item[item]}, {expected_per_item[item]}\n"
            )
        if len(off) or corpus != expected:
            raise SystemExit(f"{name}, {num_stages} stages: {len(off)} items differ; corpus {corpus}, {expected}")
        compared = f"{len(pairs[0])} items, {sum(map(len, pairs[1]))} references"
        sys.stdout.write(f"METEOR, {name}, {num_stages} stages, {compared}: equal ({corpus:.6f})\n")


def compare_stems(draw: random.Random) -> None:
    """Raises SystemExit where a stem differs."""
    resources = MeteorResources(FOLDER)
    words = {word for entry in (*resources._synsets, *resources._bases) for word in entry.split("_")}
    with gzip.open(FOLDER / "data/paraphrase-en.gz", "rt", encoding="utf-8") as table:
        phrases = (line for number, line in enumerate(table) if number % 3)  # the first of three is a probability
        words.update(word for line in phrases for word in line.split())
    words.update("".join(draw.choices(ENDS, k=draw.randrange(1, 6))).lower() for _ in range(200_000))
    listed = sorted(word for word in words if word and word == word.lower() and word.isprintable())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Stems.java"
        source.write_text(STEMS)
        command = ["java", "-cp", str(JAR), str(source)]
        told = subprocess.run(command, input="\n".join(listed).encode(), stdout=subprocess.PIPE, check=True).stdout
    theirs = told.decode().splitlines()
    off = [(word, stem) for word, stem in zip(listed, theirs, strict=True) if english_stem(word) != stem]
    if off:
        raise SystemExit(f"{len(off)} of {len(listed)} stems differ: {off[:20]}")
    sys.stdout.write(f"METEOR, stems of {len(listed)} words: equal\n")


def changed_pairs(number: int, draw: random.Random) -> Pairs:
    """Captions and references that come from the same text, and some that do not."""
    real = [text for text in real_texts() if comparable(text)]
    texts = [text for text in generated_texts(number, real, draw) if comparable(text)]
    resources = MeteorResources(FOLDER)
    words = [*resources._synsets, *resources._bases, *["g7", "eu", "the", "of", "a", "'s", "photo", "street"] * 9000]

    def changed(text: str) -> str:
        pieces = text.split()
        for _ in range(draw.randrange(6) if pieces else 0):
            place = draw.randrange(len(pieces))
            way = draw.randrange(6)
            if way == 0:
                draw.shuffle(pieces)
            elif way == 1:
                pieces.insert(place, draw.choice(pieces))
            elif way == 2:
                pieces[place] += draw.choice(("s", "ing", "ed", "er", "ly", "es"))
            elif way == 3:
                pieces = pieces[place:] + pieces[:place]
            elif way == 4:
                pieces += draw.choice(real).split()[:6]
            else:
                pieces[place] = draw.choice(words).replace("_", " ")
        return " ".join(pieces)

    predictions, references = [], []
    for _ in range(number):
        kind = draw.random()
        text = draw.choice(real if kind < 0.7 else texts)
        text = " ".join(draw.choices(real, k=6)) if kind < 0.1 else text
        others = [changed(text if draw.random() < 0.8 else draw.choice(real)) for _ in range(draw.randrange(1, 5))]
        predictions.append(changed(text))
        references.append([other for other in others if comparable(other)] or ["a"])
    return [text if comparable(text) else "a" for text in predictions], references


def write_golden() -> None:
    """The content of meteor.json: what the program gives with the made-up resources."""
    predictions, references, _ = texts_of_the_newsroom()
    content: dict[str, object] = {"captions": CAPTIONS}
    with tempfile.TemporaryDirectory() as name:
        folder = write_meteor_folder(Path(name))
        files = ["-s", str(folder / "function/english.words"), "-d", str(folder / "synonym")]
        files += ["-a", str(folder / "data/paraphrase-en.gz")]
        sets: dict[str, Pairs] = {"newsroom": (predictions, references), "captions": tuple(zip(*CAPTIONS, strict=True))}
        for of, pairs in sets.items():
            for num_stages in (1, 2, 3, 4):
                corpus, per_item = scores_of_the_program(pairs, [*modules(num_stages), *files])
                content[f"{of}, {num_stages} stages"] = {"corpus": corpus, "per_item": per_item.tolist()}
    (OUTPUT / "meteor.json").write_text(json.dumps(content, indent=0) + "\n")


def main() -> None:
    """Compares, and prints how many there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    if asked.write:
        write_golden()
    compare_stems(draw)
    predictions, references, _ = texts_of_the_newsroom()
    compare_scores("newsroom", (predictions, references))
    compare_scores("random changes", changed_pairs(asked.pairs, draw))


if __name__ == "__main__":
    main()

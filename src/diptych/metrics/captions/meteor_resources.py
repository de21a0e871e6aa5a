"""What METEOR 1.5 knows about English, read from its authors' files; nothing of it comes with Diptych.

The package pycocoevalcap brings them: meteor-1.5.jar, which is a zip archive and needs no Java to be read, with lists
of function words and of abbreviations and the synonyms (Princeton's WordNet 3.0, whose licence lies with them), and
beside it data/paraphrase-en.gz, 5.3 million pairs of phrases.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

LONGEST_PHRASE = 7  # of the table of paraphrases, in words
_JAR, _PARAPHRASES = "meteor-1.5.jar", "data/paraphrase-en.gz"
_FUNCTION_WORDS, _ABBREVIATIONS = "function/english.words", "nonbreaking/english.prefixes"
_SYNSETS, _EXCEPTIONS = "synonym/english.synsets", "synonym/english.exceptions"
_BLOCK = 1 << 22
# A word that is no exception is looked up with the first of these ends replaced that makes an entry.
_ENDS = (
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""), ("er", ""), ("est", ""), ("er", "e"),
    ("est", "e"),
)  # fmt: skip


class MeteorResources:
    """The word lists, synonyms and paraphrases in a folder that holds meteor-1.5.jar, or the same files unpacked
    (function/english.words, ...), and data/paraphrase-en.gz. Each is read when it is first asked for.

    Without a folder, it is that of the package pycocoevalcap.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        if folder is None:
            package = find_spec("pycocoevalcap")
            places = list(package.submodule_search_locations or ()) if package else []
            folder = Path(places[0]) / "meteor" if places else None
        self.folder = None if folder is None else Path(folder)

    def require(self, stages: Collection[str]) -> None:
        """Raises ValueError saying what the stages need that is not there, and what to do."""
        names = [_FUNCTION_WORDS, _ABBREVIATIONS]
        names += [_SYNSETS, _EXCEPTIONS] if "synonym" in stages else []
        if any(not self._path(name).is_file() for name in names) and not self._path(_JAR).is_file():
            raise ValueError(
                f"{self.folder} has neither {_JAR} nor its files unpacked ({', '.join(names)}); give its "
                "folder, or null for that of the package pycocoevalcap, or leave meteor out"
            )
        if "paraphrase" in stages and not self._path(_PARAPHRASES).is_file():
            raise ValueError(
                f"{self.folder} lacks METEOR's {_PARAPHRASES}; pycocoevalcap brings it, or set "
                "stages=[exact,stem,synonym], which is a metric of its own, or leave meteor out"
            )

    @cached_property
    def function_words(self) -> frozenset[str]:
        """The words that count less."""
        return frozenset(self._lines(_FUNCTION_WORDS))

    @cached_property
    def abbreviations(self) -> dict[str, bool]:
        """What keeps its full stop, and whether only before a number."""
        lines = [line.split() for line in self._lines(_ABBREVIATIONS)]
        return {line[0]: line[1:2] == ["#NUMERIC_ONLY#"] for line in lines if line and line[0][0] != "#"}

    def synsets(self, word: str) -> frozenset[str]:
        """The WordNet synsets of a word in lower case and of its base forms; a word without any has none."""
        entries = self._synsets
        bases = self._bases.get(word)
        if bases is None:
            ends = () if word.endswith("ss") or len(word) < 3 else _ENDS
            changed = (word.removesuffix(end) + base for end, base in ends if word.endswith(end))
            bases = [next((base for base in changed if base in entries), word)]
        return frozenset(synset for base in (word, *bases) for synset in entries.get(base, "").split())

    def paraphrases(self, phrases: Iterable[str]) -> dict[str, list[str]]:
        """Those of the phrases that paraphrase each other, by phrase, in the table's order.

        Goes through the whole table each time, which takes some seconds: what is not asked for is not kept.
        """
        wanted = {phrase.encode() for phrase in phrases}
        found: dict[str, list[str]] = {}
        for lines in self._blocks_of_paraphrases():  # three lines each: a probability, a phrase, its paraphrase
            pairs = zip(lines[1::3], lines[2::3], strict=True)
            for phrase, paraphrase in [pair for pair in pairs if pair[0] in wanted and pair[1] in wanted]:
                found.setdefault(phrase.decode(), []).append(paraphrase.decode())
        return found

    def _blocks_of_paraphrases(self) -> Iterator[list[bytes]]:
        path = self._path(_PARAPHRASES)
        console = Console(stderr=True)
        bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        try:
            with bar, bar.open(path, "rb", description="METEOR's paraphrases") as packed, gzip.open(packed) as table:
                rest: list[bytes] = [b""]
                while block := table.read(_BLOCK):
                    lines = (rest[-1] + block).split(b"\n")
                    lines = rest[:-1] + lines
                    whole = (len(lines) - 1) // 3 * 3
                    yield lines[:whole]
                    rest = lines[whole:]
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} cannot be read ({error}); install pycocoevalcap again") from error
        if rest != [b""]:
            raise ValueError(f"{path} ends within an entry; install pycocoevalcap again")

    @cached_property
    def _synsets(self) -> dict[str, str]:
        lines = self._lines(_SYNSETS)
        return dict(zip(lines[::2], lines[1::2], strict=True))

    @cached_property
    def _bases(self) -> dict[str, list[str]]:
        lines = self._lines(_EXCEPTIONS)
        bases: dict[str, list[str]] = {}
        for base, forms in zip(lines[::2], lines[1::2], strict=True):
            for form in forms.split():
                bases.setdefault(form, []).append(base)
        return bases

    def _path(self, name: str) -> Path:
        if self.folder is None:
            raise ValueError(
                "METEOR's word lists come with the package pycocoevalcap: pip install pycocoevalcap (Java is not "
                "needed), or give the folder of meteor-1.5.jar, or leave meteor out"
            )
        return self.folder / name

    def _lines(self, name: str) -> list[str]:
        """Of a file in the folder, else in the jar. Raises ValueError naming what cannot be read."""
        jar = self._path(_JAR)
        try:
            if not jar.is_file():
                return self._path(name).read_text(encoding="utf-8").splitlines()
            with zipfile.ZipFile(jar) as archive:
                return archive.read(name).decode("utf-8").splitlines()
        except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            place = jar if jar.is_file() else self._path(name)
            raise ValueError(f"{place} cannot be read ({error}); it is not METEOR 1.5's") from error

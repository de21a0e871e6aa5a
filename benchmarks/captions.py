"""CIDEr, BLEU and ROUGE-L with tokenisation: ours against pycocoevalcap with its Java tokenizer.

    python benchmarks/captions.py [--predictions 30000 --references 5 --repeats 3]

The captions are generated: 8 to 16 words with the frequencies of real text, references near their predictions. Both
sides start from strings and must agree before anything is timed. Memory is the peak beyond the captions, each side in
a fresh process; that of the Java program counts with pycocoevalcap's. Without Java its Python scorers alone are
compared, on our tokens.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from diptych.metrics.captions import ptb_tokenizer
from diptych.metrics.captions.bleu import score_bleu
from diptych.metrics.captions.caption_corpus import CaptionCorpus
from diptych.metrics.captions.cider import score_cider
from diptych.metrics.captions.rouge_l import score_rouge_l
from side_by_side import interleave, machine_line

JAVA = shutil.which("java") is not None
Captions = tuple[list[str], list[list[str]]]
VOCABULARY = 12_000


def captions(num_predictions: int, num_references: int) -> Captions:
    """Sentences with a capital and a full stop; each reference keeps two thirds of its prediction's words."""
    generator = random.Random(0)
    letters = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = ["".join(generator.choices(letters, k=generator.choice((1, 2, 2, 3, 4)))) for _ in range(VOCABULARY)]
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1)).tolist()

    def sentence(chosen: Sequence[str]) -> str:
        return " ".join(chosen).capitalize() + "."

    predictions, references = [], []
    for _ in range(num_predictions):
        chosen = generator.choices(words, cum_weights=weights, k=generator.randrange(8, 17))
        predictions.append(sentence(chosen))
        others = generator.choices(words, cum_weights=weights, k=len(chosen) * num_references)
        near = [word if generator.random() < 2 / 3 else others.pop() for _ in range(num_references) for word in chosen]
        starts = range(0, len(near), len(chosen))
        references.append([sentence(near[start : start + len(chosen)]) for start in starts])
    return predictions, references


def ours(given: Captions) -> list[float]:
    """CIDEr, BLEU-1 to 4 and ROUGE-L of the corpus, with no word remembered from an earlier round."""
    ptb_tokenizer._REMEMBERED.clear()
    corpus = CaptionCorpus(*given)
    return [score_cider(corpus)[0], *score_bleu(corpus)[0].values(), score_rouge_l(corpus)[0]]


def theirs(given: Captions) -> list[float]:
    """The same by its classes, called as its documentation does."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    predictions, references = _peers_tokens(given)
    with contextlib.redirect_stdout(io.StringIO()):
        return [
            float(Cider().compute_score(references, predictions)[0]),
            *map(float, Bleu(4).compute_score(references, predictions, verbose=0)[0]),
            float(Rouge().compute_score(references, predictions)[0]),
        ]


def _peers_tokens(given: Captions) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """Predictions and references as pycocoevalcap's scorers take them: texts of tokens by item."""
    sides = ([[text] for text in given[0]], given[1])
    if JAVA:
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        asked = [{item: [{"caption": text} for text in texts] for item, texts in enumerate(side)} for side in sides]
        return PTBTokenizer().tokenize(asked[0]), PTBTokenizer().tokenize(asked[1])
    found = [iter(ptb_tokenizer.tokenize([text for texts in side for text in texts])) for side in sides]
    tokens = [[[" ".join(next(found[n])) for _ in texts] for texts in side] for n, side in enumerate(sides)]
    return dict(enumerate(tokens[0])), dict(enumerate(tokens[1]))


RIVALS: dict[str, Callable[[Captions], list[float]]] = {"ours": ours, "pycocoevalcap": theirs}


def _peak_bytes() -> int:
    """Peak resident memory of this process, and of the largest it started. The first is not `ru_maxrss`: that starts
    with the peak of the process that forked.
    """
    status = Path("/proc/self/status").read_text()
    own = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return max(own, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def measured_memory(rival: str, shape: tuple[int, int]) -> int:
    """By how many bytes the rival raises the peak of a fresh process, once the captions are there."""
    command = [sys.executable, __file__, "--memory-of", rival, "--predictions", str(shape[0])]
    command += ["--references", str(shape[1])]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return int(output.split()[-1])


def main() -> None:
    """Print times, ratios and memory; or, asked for one rival's memory, that alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=30_000)
    parser.add_argument("--references", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-of", choices=sorted(RIVALS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if find_spec("pycocoevalcap") is None:
        raise SystemExit("pycocoevalcap is not installed; pip install pycocoevalcap (for this comparison only)")
    shape = (asked.predictions, asked.references)
    given = captions(*shape)
    if asked.memory_of:
        run = RIVALS[asked.memory_of]
        run((given[0][:64], given[1][:64]))
        before = _peak_bytes()
        run(given)
        print(_peak_bytes() - before)
        return
    if not np.allclose(ours(given), theirs(given), atol=1e-6, rtol=0):
        raise SystemExit("ours and pycocoevalcap disagree: the timings would mean nothing")
    memory = {name: measured_memory(name, shape) for name in RIVALS}
    times = interleave({name: lambda run=run: run(given) for name, run in RIVALS.items()}, asked.repeats)
    tokenizer = "its Java tokenizer" if JAVA else "our tokenizer: no Java here"
    print(f"captions, {shape[0]} with {shape[1]} references, pycocoevalcap with {tokenizer}; {machine_line()}")
    for name, (median, low, high) in times.items():
        print(f"  {name:14} {median:7.3f} s ({low:.3f} to {high:.3f})   {memory[name] / 2**20:7.0f} MiB")
    print(f"  ours is {times['pycocoevalcap'][0] / times['ours'][0]:.1f} times faster (wanted: 5)")
    print(f"  ours needs {memory['ours'] / memory['pycocoevalcap']:.3f} of its memory (wanted: up to 1)")


if __name__ == "__main__":
    main()

"""The annotation pipeline: how fast questions are planned, and how fast they are asked.

    python benchmarks/annotation.py [--pairs 100000 --requests 10000 --concurrency 64 --latency 0.05]

Planning fills the ledger with the questions about all pairs, and stops before anything is sent: about pictures given by
URL, about local ones (hard links to 200 JPEGs of 640 x 480, so that every name is read and hashed, but the ledger gets
200 questions), and about targets with a reference's description in each prompt. Each part runs in a fresh process;
memory is its peak.

The rate is that of the online asker, ledger and all, against `diptych.synthetic.server` in a process of its own. The
ideal is concurrency / latency. CPU time is that of the asking process alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from diptych.annotation.askers.online import OnlineAsker
from diptych.annotation.cost import Prices
from diptych.annotation.images import PictureForm
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.prompt import AnnotationPrompt
from diptych.annotation.task import AnnotationTask
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.server.vlm_client import VLMClient
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.describe_reference import DescribeReference
from diptych.stages.annotation.describe_target import DescribeTarget

ROOT = Path(__file__).resolve().parents[1]
MODES = ("urls", "files", "targets")
OBJECTS = [
    {"name": f"object {number}", "descriptors": ["tufted dark green velvet", "as wide as the bed", "square corners"]}
    for number in range(10)
]


class Planned(Exception):
    """Everything is planned."""


class NoAsker:
    """Stops when it is asked."""

    model, price_factor = "gpt-4o", 1.0

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """Raises Planned."""
        raise Planned


def prompt(name: str) -> AnnotationPrompt:
    """The prompt of a stage, as its config has it."""
    entry = yaml.safe_load((ROOT / "conf/annotation/prompt" / f"{name}.yaml").read_text())
    return AnnotationPrompt(entry["text"], entry["domains"])


def write_pairs(folder: Path, num_pairs: int, mode: str) -> None:
    """Pairs of different pictures, a reference each; local pictures are made where they are wanted."""
    if mode == "files":
        noise = np.random.default_rng(0)
        for number in range(200):
            coarse = Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8))
            coarse.resize((640, 480)).save(folder / f"{number}.jpg", quality=90)
        for number in range(num_pairs):
            os.link(folder / f"{number % 200}.jpg", folder / f"reference_{number}.jpg")
    start = "" if mode == "files" else "https://pictures.example/"
    pairs = (
        {
            "reference_image": f"{start}reference_{number}.jpg",
            "target_image": f"https://pictures.example/target_{number}.jpg",
        }
        for number in range(num_pairs)
    )
    (folder / "pairs.json").write_text(json.dumps(list(pairs)))
    if mode == "targets":
        with (folder / "references.jsonl").open("w") as file:
            for number in range(num_pairs):
                file.write(json.dumps({"image": f"{start}reference_{number}.jpg", "objects": OBJECTS}) + "\n")


def plan(folder: Path, mode: str) -> None:
    """Plans in this process, and prints the seconds, the peak in MB, and the number of questions."""
    asking = Asking(NoAsker(), str(folder / "ledger.sqlite"), Prices({}), "gpt-4o", PictureForm())

    def task(name: str) -> AnnotationTask:
        return AnnotationTask(prompt(name), folder / "pairs.json", "hotel", 10)

    started = time.perf_counter()
    if mode == "targets":
        stage: AskStage = DescribeTarget(asking, task("describe_target"), folder / "references.jsonl")
    else:
        stage = DescribeReference(asking, task("describe_reference"))
    with suppress(Planned):
        list(stage.process(stage.ids()))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with Ledger(asking.ledger) as ledger:
        ((counts),) = ledger.counts().values()
    print(json.dumps([seconds, peak, counts["pending"]]))


def show_planning(num_pairs: int) -> None:
    """Times planning, each kind in a fresh process."""
    for mode in MODES:
        with tempfile.TemporaryDirectory() as name:
            write_pairs(Path(name), num_pairs, mode)
            command = [sys.executable, __file__, "--plan", name, mode]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, peak, planned = json.loads(output)
        print(
            f"planning, {mode}: {planned:,} questions in {seconds:.1f} s, peak {peak:,.0f} MB (limits 60 s, 1,024 MB)"
        )


def show_rate(num_requests: int, concurrency: int, latency_s: float) -> None:
    """Times text-only questions against the loopback server."""
    description = json.dumps({"objects": OBJECTS})
    text = prompt("write_modifications").render(
        domain="hotel", reference=description, target=description.replace("green", "blue")
    )
    questions = [
        Question(str(number), "rate", str(number), lambda: [{"role": "user", "content": text}], 1500, 1000)
        for number in range(num_requests)
    ]
    command = [sys.executable, "-m", "diptych.synthetic.server", f"latency_s={latency_s}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = next(found for line in server.stdout if (found := re.search(r"http://\S+", line))).group()
        client = VLMClient("gpt-4o", url, api_key_env=None, concurrency=concurrency)
        with tempfile.TemporaryDirectory() as name, Ledger(Path(name) / "ledger.sqlite") as ledger:
            ledger.plan(questions, "gpt-4o")
            warm_up, measured = questions[:concurrency], questions[concurrency:]
            answered = [result for _, result in OnlineAsker(client).ask(warm_up, ledger)]
            wall, cpu = time.perf_counter(), time.process_time()
            answered += [result for _, result in OnlineAsker(client).ask(measured, ledger)]
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        server.terminate()
        server.wait()
    failed = sum(isinstance(result, Failure) for result in answered)
    rate, ideal = len(measured) / wall, concurrency / latency_s
    print(
        f"asking: {rate:,.0f} requests/s at concurrency {concurrency} and {1000 * latency_s:.0f} ms, {rate / ideal:.0%}"
        f" of the ideal {ideal:,.0f} (aim 85%); {1000 * cpu / len(measured):.2f} ms of CPU a request (limit 15);"
        f" {failed} failed"
    )


def main() -> None:
    """Reads the command line and prints a line for each measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--plan", nargs=2, help=argparse.SUPPRESS)  # what the process that plans is started with
    options = parser.parse_args()
    if options.plan:
        plan(Path(options.plan[0]), options.plan[1])
        return
    show_planning(options.pairs)
    show_rate(options.requests, options.concurrency, options.latency)


if __name__ == "__main__":
    main()

"""The report of 20,000 queries: how large it is, how long it takes to write, and how long to open in Chromium.

    python benchmarks/retrieval_report.py [--queries 20000 --gallery 20000 --size 512 --keep FOLDER]

Queries have texts of 80 characters and 8 results of a gallery of drawn pictures, whose thumbnails are about as large as
those of photographs, and which lie beside the page as they do in a dataset. Opening is the time from the navigation in
a Chromium without a window until the page's script has shown its first queries; the least of three.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.contracts.retrieval import Query, RankedQuery
from diptych.report.write import write_report
from side_by_side import machine_line

SECONDS, MEGABYTES = 3.0, 15.0  # what it may take
_WORDS = ("make", "the", "curtains", "green", "and", "put", "two", "lamps", "beside", "a", "bed", "without", "cushions")
_TIMING = """addEventListener("load", () => requestAnimationFrame(() => {
document.title = `opened in ${Math.round(performance.now())} ms, ${document.querySelectorAll("#list article").length}`
  + " queries shown"; }));"""
_DISTINCT = 64  # files that the gallery links to by hard links: 20,000 pictures would fill the disk


def make_gallery(folder: Path, num_images: int, size: int) -> dict[str, Path]:
    """Files of the ids; pictures of `size` by three quarters of it."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    paths: dict[str, Path] = {}
    for number in range(num_images):
        path = folder / f"dev-{number:05d}-img{number % 7}.jpg"
        if number < _DISTINCT:
            slope = np.linspace(40, 200, 160)[None, :, None] + draw.normal(0, 13, (120, 160, 3))
            picture = Image.fromarray((slope + draw.integers(-40, 40, 3)).clip(0, 255).astype(np.uint8))
            picture.resize((size, size * 3 // 4), Image.Resampling.BICUBIC).save(path, quality=85)
        else:
            path.hardlink_to(list(paths.values())[number % _DISTINCT])
        paths[path.stem] = path
    return paths


def make_queries(ids: list[str], num_queries: int) -> tuple[list[Query], list[RankedQuery]]:
    """Each with a target whose rank is another one: 1 to `num_queries`, in no order."""
    draw = random.Random(0)
    ranks = draw.sample(range(1, num_queries + 1), num_queries)
    queries, ranked = [], []
    for number, rank in enumerate(ranks):
        names = draw.sample(ids, 10)
        text, aspects = " ".join(draw.choices(_WORDS, k=16)), (f"changes_{1 + number % 3}",)
        queries.append(Query(f"{number}", names[0], text, names[1], (names[1],), aspects=aspects))
        scores = tuple(0.9 - 0.0123 * place for place in range(8))
        ranked.append(RankedQuery(f"{number}", tuple(names[2:]), scores, rank, (rank,), 1, 1 + number % 5))
    return queries, ranked


def opened(page: Path, profile: Path) -> float:
    """Seconds from the start of the navigation until everything is loaded, the page's script has shown its first
    queries, and a frame with them was drawn: of a copy without the page's policy, which allows no other script.
    """
    text = re.sub(r"<meta http-equiv.*?>", "", page.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    copy = page.with_name("timed.html")
    copy.write_text(text.replace("</body>", f"<script>{_TIMING}</script></body>"), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={profile}"]
    shown = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, check=True, timeout=300).stdout
    copy.unlink()
    found = re.search(r"<title>opened in (\d+) ms, (\d+) queries shown</title>", shown)
    if found is None or found[2] == "0":
        raise RuntimeError("the page's script has shown nothing")
    return float(found[1]) / 1000


def main() -> None:
    """Prints a line for each number, and whether it is small enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--gallery", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        paths = make_gallery(folder / "data", arguments.gallery, arguments.size)
        queries, ranked = make_queries(list(paths), arguments.queries)
        protocol = {
            "name": "made",
            "version": 1,
            "gallery": "all",
            "exclude_reference": False,
            "text_template": "{text}",
        }
        protocol |= {"caption_joining": "none", "primary_metric": "recall_at_1", "partial": None}
        result = {"experiment": "made", "data": "made", "split": "test", "protocol": protocol, "intervals": {}}
        result |= {"queries": {"scored": len(queries), "expected": len(queries)}, "metrics": {"recall_at_1": 0.5}}
        result |= {"gallery": {"size": len(paths), "sha256": "00"}, "checkpoint": "none"}
        begin = time.perf_counter()
        page = write_report(folder / "runs" / "made" / "report", result, ranked, queries, paths)
        written = time.perf_counter() - begin
        seconds = min(opened(page, folder / "profile") for _ in range(3))
        megabytes = page.stat().st_size / 1e6
        print(machine_line())
        print(f"{len(queries):,} queries, {len(paths):,} pictures of {arguments.size} pixels")
        print(f"page {megabytes:.1f} MB (limit {MEGABYTES}): {'ok' if megabytes < MEGABYTES else 'MISSED'}")
        print(f"sheet {(page.parent / 'sheet.jpg').stat().st_size / 1e6:.2f} MB")
        print(f"written in {written:.1f} s")
        print(f"opened in {seconds:.2f} s (limit {SECONDS}): {'ok' if seconds < SECONDS else 'MISSED'}")


if __name__ == "__main__":
    main()

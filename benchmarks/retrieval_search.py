"""2,000 queries over 400,000 photos of width 1,152: time and memory of our exact search, the plain way, and FAISS.

    python benchmarks/retrieval_search.py [--queries 2000 --gallery 400000 --width 1152 --k 50 --repeats 1]

The plain way holds the gallery as float32, multiplies once and takes `topk`. Memory is the peak of a fresh process with
everything in it (Python, torch, the pages of the mapped file), the limit that counts on a shared machine. Each rival
reads the same float16 file, made of vectors around 2,000 centres; it takes 0.9 GB in `--folder`.

FAISS is measured on the first `--faiss-gallery` vectors, because its indices take long to build: recall against the
exact search, and the time of a search without building.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from diptych.index.exact_index import ExactIndex
from diptych.index.faiss_index import KINDS, FaissIndex
from side_by_side import machine_line

LIMIT_GB = 4.0
RIVALS = ("ours", "plain")
CENTRES = 2000
ROWS_AT_ONCE = 8192


def make(folder: Path, num_queries: int, num_gallery: int, width: int) -> None:
    """Gallery and queries as files, a block at a time."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CENTRES, width), dtype=np.float32)

    def rows(number: int) -> np.ndarray:
        values = centres[generator.integers(0, CENTRES, number)]
        values = values + 0.7 * generator.standard_normal((number, width), dtype=np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    gallery = np.lib.format.open_memmap(folder / "gallery.npy", "w+", np.float16, (num_gallery, width))
    for start in range(0, num_gallery, ROWS_AT_ONCE):
        gallery[start : start + ROWS_AT_ONCE] = rows(min(ROWS_AT_ONCE, num_gallery - start))
    gallery.flush()
    np.save(folder / "queries.npy", rows(num_queries))


def plain(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """One product, one topk."""
    similarity = torch.from_numpy(queries) @ torch.from_numpy(gallery.astype(np.float32)).T
    scores, positions = similarity.topk(k)
    return positions.numpy(), scores.numpy()


def measure(rival: str, folder: Path, k: int) -> None:
    """Search once in this process; print seconds and the process's peak memory, and keep the positions."""
    queries = np.load(folder / "queries.npy")
    gallery = np.load(folder / "gallery.npy", mmap_mode="r")
    search = ExactIndex().search if rival == "ours" else plain
    start = time.perf_counter()
    positions, _ = search(queries, gallery, k)
    seconds = time.perf_counter() - start
    np.save(folder / f"{rival}.npy", positions)
    status = Path("/proc/self/status").read_text()  # not ru_maxrss: that starts with the peak of the parent
    peak = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "bytes": peak}))


def measured(rival: str, folder: Path, k: int, repeats: int) -> tuple[float, float]:
    """Fastest seconds and greatest GB of fresh processes."""
    command = [sys.executable, __file__, "--measure", rival, "--folder", str(folder), "--k", str(k)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats)
    ]
    return min(run["seconds"] for run in runs), max(run["bytes"] for run in runs) / 1e9


def report_faiss(folder: Path, num_rows: int, k: int) -> None:
    """Recall and search time of both kinds over the first vectors."""
    queries, gallery = (
        np.load(folder / "queries.npy"),
        np.array(np.load(folder / "gallery.npy", mmap_mode="r")[:num_rows]),
    )
    start = time.perf_counter()
    ExactIndex().search(queries, gallery, k)
    print(f"  exact over {len(gallery)}: {time.perf_counter() - start:.2f} s")
    for kind in KINDS:
        index = FaissIndex(kind, **({"effort": 64, "oversampling": 10} if kind == "ivf_pq" else {}))
        start = time.perf_counter()
        index._index(gallery)
        built = time.perf_counter()
        index._search(queries, gallery, k)
        searched = time.perf_counter()
        index.search(queries, gallery, k)
        print(
            f"  {kind} over {len(gallery)}: recall at {k} {index.recall:.4f}, search {searched - built:.2f} s,"
            f" built in {built - start:.0f} s"
        )


def main() -> None:
    """Print times, memory and ratios; or, asked for one rival, measure that alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--gallery", type=int, default=400_000)
    parser.add_argument("--width", type=int, default=1152)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--faiss-gallery", type=int, default=20_000, help="0 leaves FAISS out")
    parser.add_argument("--folder", type=Path, help="where the vectors are put; a temporary folder if not named")
    parser.add_argument("--measure", choices=RIVALS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.folder, asked.k)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        make(folder, asked.queries, asked.gallery, asked.width)
        print(f"search, {asked.queries} x {asked.gallery} at width {asked.width}, k={asked.k}; {machine_line()}")
        found = {rival: measured(rival, folder, asked.k, asked.repeats) for rival in RIVALS}
        for rival, (seconds, gigabytes) in found.items():
            print(f"  {rival:6} {seconds:7.1f} s   {gigabytes:5.2f} GB")
        own, other = (np.load(folder / f"{rival}.npy") for rival in RIVALS)
        print(f"  the same position at the same rank: {(own == other).mean():.6f}")
        ratios = [ours / theirs for ours, theirs in zip(found["ours"], found["plain"], strict=True)]
        verdict = "met" if found["ours"][1] < LIMIT_GB else "MISSED"
        print(f"  ours takes {ratios[0]:.2f} of plain's time and {ratios[1]:.2f} of its memory")
        print(f"  ours under {LIMIT_GB} GB: {verdict}")
        if asked.faiss_gallery:
            report_faiss(folder, asked.faiss_gallery, asked.k)


if __name__ == "__main__":
    main()

"""Approximate search by FAISS, for millions of images: its recall against the exact search is measured every time.

Below some 10,000 queries over a gallery, building the index costs more than it saves (FAISS wiki, "Guidelines to choose
an index"): then take `ExactIndex`. Shape letters: Q queries, G gallery, K cut-off, E embedding width, C proposed.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.extras import require
from diptych.index.exact_index import ExactIndex
from diptych.storage.checksums import Damaged, check_seal, seal
from diptych.storage.key import key_of
from diptych.storage.whole import remove_unfinished, whole_file

log = logging.getLogger(__name__)

KINDS = ("hnsw", "ivf_pq")
_FORMAT = 1  # raise it when the same settings begin to build another index
_LINKS = 32  # of a vector in the graph: the wiki's guidelines name 4 to 64
_BUILD_EFFORT = 200  # the default of hnswlib, the graph's first implementation; FAISS' own is 40
_LISTS_PER_ROOT = 4  # lists per square root of G: the guidelines name 4 to 16 below a million vectors
_TRAINED_PER_LIST = 64  # the guidelines name 30 to 256
_CODEBOOK = 256  # entries of a code's byte
_CODED_TOGETHER = 8  # dimensions to a byte of the code: a 1,152-wide vector takes 144 bytes
_ROWS_AT_ONCE = 16_384


class FaissIndex:
    """A graph (`hnsw`: fast, 2 E + 256 bytes a vector in memory) or an inverted file with coded vectors (`ivf_pq`:
    about E / 8 bytes a vector).

    - `effort`: how much is looked at for a query: vectors kept in view on the walk (`hnsw`), or lists (`ivf_pq`).
    - FAISS proposes `oversampling` times K vectors; their scores are then computed from the vectors themselves, so that
      scores mean what those of the exact search do.
    - The index is built block by block and kept beside vectors that are mapped to memory, as
      `<kind>-<settings>-<content>.faiss`; other vectors or settings get another one, and the outdated one is removed.
    - With one of `build_threads` the same vectors give the same index, bit for bit; more are faster, and a graph then
      depends on who comes first.

    `recall` is that of the latest `search`: the share of the exact first K that were found, over `recall_queries`
    queries chosen by a fixed seed.
    """

    def __init__(
        self,
        kind: str = "hnsw",
        effort: int = 256,
        oversampling: int = 2,
        recall_queries: int = 100,
        build_threads: int = 1,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} of FAISS index is not known; choose {' or '.join(KINDS)}")
        self.kind, self.effort, self.oversampling = kind, effort, oversampling
        self.recall_queries, self.build_threads = recall_queries, build_threads
        for name in ("effort", "oversampling", "recall_queries", "build_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        self.recall: float | None = None
        self._loaded: tuple[np.ndarray, Any] | None = None

    def search(self, queries: Tensor | np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `ExactIndex.search`, nearly. Where FAISS proposes fewer than K vectors, a row ends in position -1 with
        score -inf. Logs the recall.

        Raises:
            ValueError: faiss is not installed, or as `ExactIndex.search`; `ivf_pq` wants 256 vectors at least.
        """
        queries = np.ascontiguousarray(torch.as_tensor(queries).float().numpy())
        asked = np.sort(np.random.default_rng(0).permutation(len(queries))[: self.recall_queries])
        exact, _ = ExactIndex().search(queries[asked], vectors, k)  # which also checks what is given
        positions, scores = self._search(queries, vectors, exact.shape[1])
        found = [np.isin(row, own).mean() for row, own in zip(exact, positions[asked], strict=True)]
        self.recall = float(np.mean(found)) if found else None
        if found:
            log.info(
                "FAISS %s: recall at %d against exact search %.4f (%d queries)", self.kind, k, self.recall, len(found)
            )
        return positions, scores

    def _search(self, queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        index = self._index(vectors)
        num_proposed = min(k * self.oversampling, len(vectors))
        if self.kind == "hnsw":
            index.hnsw.efSearch = max(self.effort, num_proposed)
        else:
            index.nprobe = min(self.effort, index.nlist)
        _, proposed = index.search(queries, num_proposed)
        positions = np.full((len(queries), k), -1, np.int64)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for row, (query, candidates) in enumerate(zip(queries, proposed, strict=True)):
            candidates = np.sort(candidates[candidates >= 0])
            own = vectors[candidates].astype(np.float32) @ query
            order = np.argsort(-own, kind="stable")[:k]  # equal scores to the earlier position
            positions[row, : len(order)] = candidates[order]
            scores[row, : len(order)] = own[order]
        return positions, scores

    # ------------------------------------------------------------------------------------------------ the index

    def _index(self, vectors: np.ndarray) -> Any:
        """The index of these vectors: the one of the search before, the one on disk, or a new one."""
        if self._loaded is not None and self._loaded[0] is vectors and not vectors.flags.writeable:
            return self._loaded[1]
        faiss = _faiss()
        name = f"{self._prefix(faiss.__version__)}{_content(vectors)}.faiss"
        folder = Path(vectors.filename).parent if isinstance(vectors, np.memmap) and vectors.filename else None
        if folder is not None and (folder / name).is_file():
            index = _read(faiss, folder / name, vectors)
        else:
            index = self._build(faiss, vectors)
            if folder is not None:
                self._keep(faiss, index, folder / name)
        self._loaded = (vectors, index)
        return index

    def _prefix(self, version: str) -> str:
        constants = [_FORMAT, version, _LINKS, _BUILD_EFFORT, _LISTS_PER_ROOT, _TRAINED_PER_LIST, _CODED_TOGETHER]
        return f"{self.kind}-{key_of([*constants, self.build_threads], length=8)}-"

    def _build(self, faiss: Any, vectors: np.ndarray) -> Any:
        log.info("FAISS %s: building the index of %d vectors, once", self.kind, len(vectors))
        width = vectors.shape[1]
        if self.kind == "hnsw":
            # float16, as stores have it by default: half the memory, and scores come from the vectors anyway.
            index = faiss.IndexHNSWSQ(width, faiss.ScalarQuantizer.QT_fp16, _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _BUILD_EFFORT
            num_trained = 1
        else:
            index, num_trained = _inverted_file(faiss, *vectors.shape)
        with _threads(faiss, self.build_threads):
            index.train(_training_rows(vectors, num_trained))
            for start in range(0, len(vectors), _ROWS_AT_ONCE):
                index.add(np.array(vectors[start : start + _ROWS_AT_ONCE], np.float32))
        return index

    def _keep(self, faiss: Any, index: Any, path: Path) -> None:
        """Writes the index in one step, and removes those of earlier vectors. Without room the search continues."""
        prefix = self._prefix(faiss.__version__)
        try:
            with whole_file(path) as temporary:
                faiss.write_index(index, str(temporary))
                seal(temporary)
            remove_unfinished(path.parent, f"{prefix}*")
            for other in path.parent.glob(f"{prefix}*"):
                if other != path:
                    other.unlink()
        except (OSError, RuntimeError) as error:
            log.warning("FAISS' index is not kept as %s, the next search builds it again: %s", path, error)


def _faiss() -> Any:
    require("faiss", "choose index=exact")
    try:
        import faiss
    except ImportError as error:
        raise ValueError(f"faiss is installed but cannot be used ({error}); choose index=exact") from None
    return faiss


def _content(vectors: np.ndarray) -> str:
    """Stands for the vectors, every bit of them."""
    digest = hashlib.sha256(f"{vectors.dtype} {vectors.shape}".encode())
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        digest.update(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]).data)
    return digest.hexdigest()[:16]


def _read(faiss: Any, path: Path, vectors: np.ndarray) -> Any:
    try:
        check_seal(path)
        index = faiss.read_index(str(path))
    except (RuntimeError, OSError, MemoryError, Damaged) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it, and it is built again") from None
    if (index.ntotal, index.d) != vectors.shape:
        raise ValueError(f"{path} is of {index.ntotal} vectors of width {index.d}, not {vectors.shape}; delete it")
    return index


def _inverted_file(faiss: Any, num_vectors: int, width: int) -> tuple[Any, int]:
    """The empty index, and how many vectors it is to be trained on."""
    if num_vectors < _CODEBOOK:
        raise ValueError(f"ivf_pq wants {_CODEBOOK} vectors at least, there are {num_vectors}; choose index=exact")
    num_lists = max(1, min(int(_LISTS_PER_ROOT * math.sqrt(num_vectors)), num_vectors // _TRAINED_PER_LIST))
    num_codes = max(number for number in range(1, max(1, width // _CODED_TOGETHER) + 1) if width % number == 0)
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFPQ(quantizer, width, num_lists, num_codes, 8, faiss.METRIC_INNER_PRODUCT)
    quantizer.this.disown()  # the index frees it
    index.own_fields = True
    return index, max(_TRAINED_PER_LIST * num_lists, _TRAINED_PER_LIST * _CODEBOOK)


def _training_rows(vectors: np.ndarray, number: int) -> np.ndarray:
    chosen = np.random.default_rng(0).permutation(len(vectors))[:number]
    return np.array(vectors[np.sort(chosen)], np.float32)


@contextmanager
def _threads(faiss: Any, number: int) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)

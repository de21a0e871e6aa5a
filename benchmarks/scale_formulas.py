"""What training at scale reads, sends, keeps and computes: formulas with their sources, and figures with bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

FLOAT, KEY = 4, 8  # bytes: of a float32, of an image's key (int64)
TAR_BLOCK = 512
Number: TypeAlias = "float | Range"


@dataclass(frozen=True)
class Range:
    """A positive figure: its middle, and the bounds it is known to lie between."""

    low: float
    middle: float
    high: float

    def __add__(self, other: Number) -> Range:
        other = as_range(other)
        return Range(self.low + other.low, self.middle + other.middle, self.high + other.high)

    def __mul__(self, other: Number) -> Range:
        other = as_range(other)
        return Range(self.low * other.low, self.middle * other.middle, self.high * other.high)

    def __truediv__(self, other: Number) -> Range:
        other = as_range(other)
        return Range(self.low / other.high, self.middle / other.middle, self.high / other.low)

    def __rtruediv__(self, other: float) -> Range:
        return as_range(other) / self

    __radd__, __rmul__ = __add__, __mul__


def as_range(value: Number) -> Range:
    """The figure with its bounds; a plain number has none."""
    return value if isinstance(value, Range) else Range(value, value, value)


def plain_form_bytes(triplets: float, record: Number) -> Number:
    """Bytes of main memory that a rank without shards needs for its list of triplets; each of its workers comes
    to the same in time, since counting references copies forked pages. The order of a pass is 8 bytes a triplet.
    """
    return triplets * (record + 8)


def tar_member_bytes(content: Number) -> Number:
    """Bytes of a file of `content` bytes in a tar: a header block, and the content padded to whole blocks, by half a
    block on average (POSIX.1-1988, ustar).
    """
    return content + Range(TAR_BLOCK, 1.5 * TAR_BLOCK, 2 * TAR_BLOCK - 1)


def triplet_bytes(photo: Number) -> Number:
    """Bytes read for a triplet from a tar: two photos, and a record of ids and text that fits into one block."""
    return 2 * tar_member_bytes(photo) + 2 * TAR_BLOCK


def prepared_bytes(size: int) -> int:
    """Bytes read for a triplet from the prepared cache: two images of 3 x size x size pixels behind 20 bytes each."""
    return 2 * (3 * size * size + 20)


def ring_all_gather_bytes(local: float, ranks: int) -> float:
    """Bytes that each rank sends when all get the `local` bytes of each: every piece but one passes through it (Thakur,
    Rabenseifner & Gropp 2005, section 4.1; NCCL's tests count the same).
    """
    return (ranks - 1) * local


def ring_all_reduce_bytes(total: float, ranks: int) -> float:
    """Bytes that each rank sends to sum a tensor of `total` bytes: a reduce-scatter and an all-gather of its `ranks`
    pieces (Patarasuk & Yuan 2009, section 3; the lower bound).
    """
    return 2 * ring_reduce_scatter_bytes(total, ranks)


def ring_reduce_scatter_bytes(total: float, ranks: int) -> float:
    """Bytes that each rank sends to sum a tensor of `total` bytes of which each then has its piece: half of that."""
    return (ranks - 1) / ranks * total


def gather_bytes(batch: int, width: int, ranks: int, gathered: int = 2) -> tuple[float, float]:
    """Bytes that each rank sends for the contrastive loss in a step, (forward, backward). `InfoNCE` gathers `gathered`
    float32 embeddings of every triplet (query and target; the reference too with `reference_negatives`) and a key for
    each but the query; backwards `gather_with_gradient` sums each rank's rows over the ranks, on that rank.
    """
    rows = batch * width * FLOAT
    forward = gathered * ring_all_gather_bytes(rows, ranks)
    forward += (gathered - 1) * ring_all_gather_bytes(batch * KEY, ranks)
    return forward, gathered * ring_reduce_scatter_bytes(ranks * rows, ranks)


def logits_bytes(anchors: int, candidates: int) -> int:
    """Bytes of the float32 logits of both directions of the loss."""
    return 2 * anchors * candidates * FLOAT


def loss_flops(batch: int, width: int, ranks: int) -> int:
    """Floating point operations of the loss on one rank: two matrix products forward, each with two backward."""
    return 2 * 3 * 2 * batch * batch * ranks * width


def gradient_bytes(parameters: int, ranks: int) -> float:
    """Bytes that each rank sends for DDP's sum of the float32 gradients, in one step."""
    return ring_all_reduce_bytes(parameters * FLOAT, ranks)


def fsdp_bytes(parameters: int, gathered: int, ranks: int) -> float:
    """Bytes that each rank sends under full sharding, in one step: `gathered` of weights (`scale_rates.gathered_bytes`)
    and the float32 gradients, reduce-scattered. Were all weights float32, and gathered twice, this would be 1.5 times
    DDP (Rajbhandari et al. 2020, section 7.2.2).
    """
    return (ranks - 1) / ranks * (gathered + parameters * FLOAT)


def adamw_bytes(parameters: int, shards: int = 1) -> float:
    """Bytes that a GPU keeps between steps: float32 parameters, gradients and AdamW's two moments (autocast keeps no
    second copy). With FSDP's full sharding a part each; the layer at work, gathered, comes on top.
    """
    return 4 * FLOAT * parameters / shards


def checkpoint_bytes(parameters: int, shards: int = 1) -> float:
    """Bytes of `last.ckpt`: float32 parameters and AdamW's two moments; with FSDP, of one rank's shard of it."""
    return 3 * FLOAT * parameters / shards


def exact_index_bytes(gallery: float, width: int, bytes_each: int = 2) -> float:
    """Bytes of the embeddings of a gallery, float16 unless `bytes_each` says otherwise."""
    return gallery * width * bytes_each


def hnsw_bytes(gallery: float, width: int, links: int = 32) -> float:
    """Bytes of `FaissIndex(kind="hnsw")`: float16 vectors; in the graph 2 x links int32 neighbours of everyone, links
    more for each higher level (a share of 1 / (links - 1) of the vectors in all), offset and level (FAISS, HNSW.h).
    """
    return gallery * (2 * width + 4 * links * (2 + 1 / (links - 1)) + 8 + 4)


def ivf_pq_bytes(gallery: float, width: int, coded_together: int = 8) -> float:
    """Bytes of `FaissIndex(kind="ivf_pq")`: a byte for every 8 dimensions and an int64 id for each vector, float32
    centroids of 4 sqrt(G) lists, and a codebook of 256 (Jegou et al. 2011, sections 2 and 3).
    """
    lists = max(1, min(int(4 * math.sqrt(gallery)), gallery // 64))
    return gallery * (width // coded_together + 8) + (lists + 256) * width * FLOAT


def search_flops(queries: int, gallery: float, width: int) -> float:
    """Floating point operations of an exact search."""
    return 2.0 * queries * gallery * width

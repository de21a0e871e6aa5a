"""A composed retrieval model as two ONNX files: pictures of the gallery to embeddings, and queries to embeddings.

Both are written by torch's exporter from what `evaluate.py` runs, and have to give its numbers in onnxruntime before
they count as written. Pictures come in as uint8 pixels of the model's size, and are normalised inside; texts as the
tokens of the backbone's preprocessing.

Shape letters: B batch, S side of a picture in pixels, L text tokens, E embedding width.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from diptych.contracts.models import TextTokens
from diptych.extras import require

if TYPE_CHECKING:
    from diptych.models.composers.composed_model import ComposedModel

log = logging.getLogger(__name__)

GALLERY, QUERY = "gallery.onnx", "query.onnx"
TOLERANCE = 1e-4  # of a number of an embedding, whose length is 1
_PROBES = (("make it red",), ("the same, but at night and without people", "smaller", "a lamp instead of the chair"))


class _GalleryEmbedder(nn.Module):
    def __init__(self, model: ComposedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.embed_gallery(pixels)["model"].float()


class _QueryEmbedder(nn.Module):
    def __init__(self, model: ComposedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, input_ids: Tensor, mask: Tensor) -> Tensor:
        return self.model.embed_queries(pixels, TextTokens(input_ids, mask))["model"].float()


def check_onnx() -> None:
    """MissingExtra unless the packages are installed that `write_onnx` needs."""
    require("onnxscript")
    require("onnxruntime")


def write_onnx(model: ComposedModel, folder: Path) -> dict[str, float]:
    """Writes `gallery.onnx` and `query.onnx` of a loaded model on the CPU into a folder that is being written; returns
    by file the largest difference of a number from torch's, in float32, over batches of one and of three.

    `gallery.onnx` takes `pixels` (B, 3, S, S) of uint8 and gives `image_embedding` (B, E); `query.onnx` takes `pixels`
    of the references, `input_ids` (B, L) of int64 and `mask` (B, L), True on real tokens, and gives `query_embedding`
    (B, E). B and L are open. Embeddings are L2-normalised float32.

    Raises:
        ValueError: the model cannot be written as ONNX, or the numbers differ by more than 1e-4; says which and why.
    """
    check_onnx()
    model.eval()
    batches = [_probe(model, texts, seed) for seed, texts in enumerate(_PROBES)]
    differences = {}
    embedders: Sequence[tuple[str, str, nn.Module, int]] = (
        (GALLERY, "image_embedding", _GalleryEmbedder(model), 1),
        (QUERY, "query_embedding", _QueryEmbedder(model), 3),
    )
    for name, output, embedder, num_inputs in embedders:
        log.info("writing %s", name)
        inputs = [dict(list(batch.items())[:num_inputs]) for batch in batches]
        _write(folder / name, embedder.eval(), inputs[-1], output)
        differences[name] = _largest_difference(folder / name, embedder, inputs)
    return differences


def _probe(model: ComposedModel, texts: Sequence[str], seed: int) -> dict[str, Tensor]:
    """Noise as pictures, and texts of several lengths."""
    preprocessing = model.backbone.preprocessing
    shape = (len(texts), 3, preprocessing.image.size, preprocessing.image.size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    tokens = preprocessing.tokenize(texts)
    return {"pixels": pixels, "input_ids": tokens.input_ids, "mask": tokens.mask}


def _write(path: Path, embedder: nn.Module, inputs: Mapping[str, Tensor], output: str) -> None:
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    open_sides = {name: {0: batch} if name == "pixels" else {0: batch, 1: length} for name in inputs}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own parts, to each other
            program = torch.onnx.export(
                embedder,
                kwargs=dict(inputs),
                dynamic_shapes=open_sides,
                input_names=list(inputs),
                output_names=[output],
                dynamo=True,
                verbose=False,
            )
        assert program is not None  # of the exporter with dynamo
        program.save(path)
    except Exception as error:  # the tracer, the translator and the writer each raise their own kinds
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path.name}: torch's exporter cannot write this model: {reason[0]}") from error


def _largest_difference(path: Path, embedder: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in batches:
        with torch.inference_mode():
            expected = embedder(**batch)
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        largest = max(largest, float((torch.from_numpy(found) - expected).abs().max()))
    if not largest <= TOLERANCE:
        raise ValueError(
            f"{path.name}: its embeddings in onnxruntime differ from torch's by up to {largest:.1e}, more than"
            f" {TOLERANCE:.0e}; nothing was written"
        )
    return largest

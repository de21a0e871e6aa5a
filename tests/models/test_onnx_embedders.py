"""Every composer on CLIP goes into ONNX files that take batches and texts of any length and give its embeddings."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.models.composers.baseline_composers import BaselineComposer
from diptych.models.composers.context import ConTextComposer
from diptych.models.composers.good4cir import Good4CIRComposer
from diptych.models.onnx_embedders import write_onnx

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("onnxscript") and find_spec("onnxruntime")),
        reason="onnxscript and onnxruntime are not installed: pip install 'diptych[onnx]'",
    ),
]

COMPOSERS = {
    "good4cir": lambda backbone: Good4CIRComposer(backbone, num_heads=2, num_layers=1),
    "context": lambda backbone: ConTextComposer(backbone, num_layers=1, num_heads=2),
    "text_only": lambda backbone: BaselineComposer(backbone, "text_only"),
}
BACKBONES = {
    "good4cir": {"image_tokens": "before_norm", "activation": "quick_gelu"},
    "context": {"image_tokens": "before_norm"},
    "text_only": {},
}


@pytest.mark.parametrize("name", COMPOSERS)
def test_embeddings_are_torch_s(name, tiny_backbone, tiny_architecture, tmp_path):
    import onnxruntime

    backbone = tiny_backbone(**BACKBONES[name])
    if name == "good4cir":  # whose pads are hidden by a mask of their own
        backbone.preprocessing = CLIPPreprocessing("tiny", architecture=tiny_architecture, tokenizer="transformers")
    model = COMPOSERS[name](backbone).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # composers begin with a projection of zeros
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    differences = write_onnx(model, tmp_path)
    assert differences.keys() == {"gallery.onnx", "query.onnx"} and max(differences.values()) < 1e-5

    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=generator)
    tokens = backbone.preprocessing.tokenize(["a", "x " * 100, "two more chairs, please", "darker"])
    inputs = {"pixels": pixels, "input_ids": tokens.input_ids, "mask": tokens.mask}
    with torch.inference_mode():
        expected = {"gallery": model.embed_gallery(pixels), "query": model.embed_queries(pixels, tokens)}
    for kind, given in (("gallery", {"pixels": pixels}), ("query", inputs)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"{kind}.onnx"), providers=["CPUExecutionProvider"])
        shapes = {each.name: each.shape for each in session.get_inputs()}
        assert all(shape[0] == "batch" for shape in shapes.values()), json.dumps(shapes)
        (found,) = session.run(None, {key: given[key].numpy() for key in shapes})
        np.testing.assert_allclose(found, expected[kind]["model"].numpy(), atol=1e-5)
        assert np.ptp(found, axis=0).max() > 1e-3  # there is something to be equal about

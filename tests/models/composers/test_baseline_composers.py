from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.retrieval import BASELINES
from diptych.models.composers.baseline_composers import BaselineComposer


def test_each_baseline_is_what_it_says(tiny_backbone, tiny_batch):
    batch = tiny_batch(4)
    queries = {kind: BaselineComposer(tiny_backbone(), kind)(batch).query for kind in BASELINES}
    backbone = tiny_backbone()
    image = F.normalize(backbone.encode_image(batch.reference).embedding, dim=-1)
    text = F.normalize(backbone.encode_text(batch.text).embedding, dim=-1)
    torch.testing.assert_close(queries["image_only"], image)
    torch.testing.assert_close(queries["text_only"], text)
    torch.testing.assert_close(queries["sum"], F.normalize(image + text, dim=-1))


@pytest.mark.parametrize("kind", BASELINES)
def test_the_evaluation_reports_the_same_baseline(tiny_backbone, tiny_batch, kind):
    model, batch = BaselineComposer(tiny_backbone(), kind), tiny_batch(4)
    queries = model.embed_queries(batch.reference, batch.text)
    assert torch.equal(queries["model"], queries[kind])
    assert queries.keys() == {"model", *BASELINES}


def test_an_unknown_baseline_is_named(tiny_backbone):
    with pytest.raises(ValueError, match=r"^kind='difference' is not one of sum, image_only, text_only"):
        BaselineComposer(tiny_backbone(), "difference")

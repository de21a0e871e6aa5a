"""A config.json that claims more than the weights beside it have is refused before anything is made of it."""

import json

import pytest

from diptych.storage.model_claims import check_claims

pytestmark = pytest.mark.hostile("hostile models")
GB = 10**9


def folder_of(path, held, **settings):
    (path / "config.json").write_text(json.dumps(settings))
    with (path / "model.safetensors").open("wb") as file:
        file.truncate(held)
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 10**9, "hidden_size": 1},
        {"n_layer": 20_000},
        {"depth": 50_000},
        {"num_hidden_layers": 10_000, "hidden_size": 10_000},
        {"hidden_size": 10**6},
        {"hidden_size": 4096, "vocab_size": 10**10},
        {"hidden_size": 4096, "intermediate_size": 10**9, "num_hidden_layers": 2},
        {"vision_config": {"hidden_size": 1024, "num_hidden_layers": 10**7}},
        {"text_config": {"inner": {"d_model": 10**7, "layers": 3}}},
    ],
)
def test_what_is_far_larger_than_its_weights_is_refused(tmp_path, settings):
    with pytest.raises(
        ValueError, match=r"its name: .*config\.json describes a model that is far larger .*nothing was"
    ):
        check_claims(folder_of(tmp_path, GB, **settings), "its name")


@pytest.mark.parametrize(
    ("held", "settings"),
    [
        (0, {"num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 128}),
        (5 * GB, {"num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12_288, "vocab_size": 151_936}),
        (40 * GB, {"num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 28_672, "vocab_size": 128_256}),
        (GB, {"num_hidden_layers": 12, "hidden_size": 4096, "embedding_size": 128, "intermediate_size": 16_384}),
        (GB, {"max_position_embeddings": 10**7, "hidden_size": 2048, "num_hidden_layers": -1, "depth": True}),
        (GB, {"architectures": ["A"], "hidden_size": "large"}),
    ],
)
def test_models_as_they_are_published_are_not(tmp_path, held, settings):
    check_claims(folder_of(tmp_path, held, **settings), "its name")


def test_a_folder_without_settings(tmp_path):
    check_claims(tmp_path, "its name")

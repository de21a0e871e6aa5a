"""Keys of settings: those on people's disks must stay what they are."""

import hashlib
import json

import pytest

from diptych.annotation.prompt import AnnotationPrompt
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.index.faiss_index import FaissIndex
from diptych.stages.annotation import questions
from diptych.storage.key import key_of

QUESTION = "c62315b4884929d4045aca05b01efd46a67ac3023cccf9496ffcf4ed8b243e2c"
SETTINGS = {"b": [1, 2.5, None], "a": {"text": "é", "deep": {"y": True, "x": False}}}


def test_the_order_of_keys_does_not_matter_and_everything_else_does():
    turned = {"a": {"deep": {"x": False, "y": True}, "text": "é"}, "b": [1, 2.5, None]}
    assert key_of(SETTINGS) == key_of(turned) and len(key_of(SETTINGS)) == 16
    assert len({key_of(SETTINGS), key_of({**SETTINGS, "b": [2.5, 1, None]}), key_of(SETTINGS, ascii_only=False)}) == 3
    assert key_of(SETTINGS, length=64).startswith(key_of(SETTINGS, length=8))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        # Computed with the code of the versions that wrote them: their caches, manifests and answers must fit.
        (lambda: key_of(SETTINGS), "ac8e0bd6cfc88847"),
        (lambda: key_of([SETTINGS, ["f00"]]), "24168c017645e641"),
        (
            lambda: questions._hash(["stage", "model", "é", []]),
            QUESTION,
        ),
        (lambda: AnnotationPrompt("Say {reference} é", {"a": "b"}).fingerprint, "82692f81ed2650e3"),
        (lambda: BackboneFeatures("root", SETTINGS).folder.name, "edfec0f2c9a84bdf"),
        (lambda: FaissIndex()._prefix("1.13.0"), "hnsw-7d11d669-"),
    ],
)
def test_keys_are_those_of_earlier_versions(made, expected):
    assert made() == expected


def test_it_is_sha256_of_sorted_json():
    text = json.dumps(SETTINGS, sort_keys=True)
    assert key_of(SETTINGS, length=64) == hashlib.sha256(text.encode()).hexdigest()

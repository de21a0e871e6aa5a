import shutil
from importlib.util import find_spec

import numpy as np
import pytest

from diptych.metrics.captions import meteor as module
from diptych.metrics.captions.meteor import METEOR, meteor

needs_program = pytest.mark.skipif(
    shutil.which("java") is None or find_spec("pycocoevalcap") is None,
    reason="METEOR needs Java and the package pycocoevalcap",
)


@needs_program
def test_small_golden_captions(predictions, reference_captions):
    # pycocoevalcap 1.2 with its Java tokenizer, Java 17.
    corpus, per_item = meteor(predictions, reference_captions)
    assert corpus == pytest.approx(0.34416842329892927, abs=1e-12)
    expected = [0.40763634227719403, 1.0, 0.3095678817889956, 0.0, 0.268937610568473]
    np.testing.assert_allclose(per_item, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("java", "package", "message"),
    [
        (None, None, "install a Java runtime .* and the package pycocoevalcap .*, or leave meteor out"),
        ("/usr/bin/java", None, "install the package pycocoevalcap .*, or leave meteor out"),
        (None, object(), "install a Java runtime .*, or leave meteor out"),
    ],
)
def test_without_its_program_it_is_refused(monkeypatch, java, package, message):
    monkeypatch.setattr(module.shutil, "which", lambda name: java)
    monkeypatch.setattr(module, "find_spec", lambda name: package)
    with pytest.raises(ValueError, match=message):
        METEOR()
    with pytest.raises(ValueError, match=message):
        meteor(["a"], [["a"]])


def test_an_item_without_reference_is_refused(monkeypatch):
    monkeypatch.setattr(module, "require_java", lambda: None)
    for predictions, references in (([], []), (["a"], [[]]), (["a"], [["a"], ["b"]])):
        with pytest.raises(ValueError, match="each needs one"):
            meteor(predictions, references)

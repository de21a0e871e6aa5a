"""Which captions an ablation asks for."""

from __future__ import annotations

import pytest

from diptych.commands.caption_variants import ablation_variants


def test_ablations_name_their_variants():
    assert ablation_variants(None) == {}
    assert list(ablation_variants("evidence")) == ["annotated_article", "whole_article"]
    untuned = ablation_variants(["evidence", "untuned"])["untuned"]
    assert not untuned.tuned and ablation_variants("evidence")["whole_article"].tuned
    with pytest.raises(ValueError, match="ablation=everything is not one of evidence, untuned"):
        ablation_variants("everything")

"""Words that Hydra would misread, and those that it would not."""

from __future__ import annotations

import pytest

from diptych.config.misread_words import refuse_misread


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "experiment=cir_rooms", "data=[cirr,hotel_cir],cirr", "callbacks=[default,early_stopping]"],
        ["data=[cirr,hotel_cir]", "seed=1"],
        ["--experimental-rerun", "runs/x/config.pickle"],
    ],
)
def test_whole_lists_and_flags_with_their_values_are_left_alone(words):
    refuse_misread(words, "train")


def test_a_list_that_a_shell_has_cut_is_put_together():
    with pytest.raises(ValueError, match=r"type 'data=\[cirr,hotel_cir\]'"):
        refuse_misread(["data=[cirr,", "hotel_cir]", "seed=1"], "train")

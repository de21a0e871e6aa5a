import pytest

from diptych.annotation.opposition import CONTRADICTION, REPETITION, conflict

CONTRADICTIONS = [
    ("Make the curtains blue.", "Make the curtains green."),
    ("Change the curtains from red to blue.", "The curtains should be white."),
    ("Paint the walls in beige.", "Paint the walls grey."),
    ("Make the bed larger.", "Make the bed smaller."),
    ("Shorten the curtains.", "Make the curtains longer."),
    ("Move the lamp to the left.", "Move the lamp to the right of the bed."),
    ("Remove the lamp.", "Make the lamp larger."),
    ("Add a brass floor lamp.", "Remove the lamp."),
    ("The rug should be removed.", "Change the rug to blue."),
    ("Replace the striped rug with a plain grey one.", "Replace the rug with a blue one."),
    ("Turn the rug plain.", "Turn the rug striped."),
]
REPETITIONS = [
    ("Add a lamp beside the bed.", "Add a lamp beside the bed!"),
    ("Make the curtains blue.", "Turn the curtains blue."),
    ("Change the curtains to blue.", "Make the curtains blue."),
]
COMPATIBLE = [
    ("Make the curtains blue.", "Make the curtains longer."),
    ("Make the curtains blue.", "Make the rug green."),
    ("Remove the red lamp.", "Add a blue lamp."),
    ("Add a red chair.", "Add a blue chair."),
    ("Change the lamp on the left to green.", "Change the lamp on the right to red."),
    ("Make the lamp on the left green.", "Make the lamp on the right red."),
    ("The chair on the left should be red.", "The lamp on the left should be blue."),
    ("Add a lamp on the left of the bed.", "Add a lamp on the right of the bed."),
    ("Add two pillows to the bed.", "Add three pillows to the sofa."),
    ("Remove the chair on the left.", "Make the chair on the right larger."),
    ("Include a view of the sea.", "Darken the floor."),
    ("Bright.", "Dark."),
]


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS)
def test_opposing_changes_of_one_object_contradict_each_other(first, second):
    assert conflict(first, second) == conflict(second, first) == "contradiction"


@pytest.mark.parametrize(("first", "second"), REPETITIONS)
def test_saying_the_same_again_is_a_repetition(first, second):
    assert conflict(first, second) == conflict(second, first) == "repetition"


@pytest.mark.parametrize(("first", "second"), COMPATIBLE)
def test_other_sentences_stand_together(first, second):
    assert conflict(first, second) is None
    assert conflict(second, first) is None


def test_the_old_value_is_no_result():
    wordings = (
        "The wallpaper is now green instead of purple.",
        "Recolour the wallpaper from purple to green.",
        "Make the wallpaper green rather than purple.",
    )
    for first in wordings:
        for second in wordings:
            assert conflict(first, second) == REPETITION
    assert conflict("The walls are now red instead of blue.", "The walls are now green instead of blue.") == (
        CONTRADICTION
    )

import pytest

from diptych.systems.post_processing import append_base_caption_words, repair_prompt_echo


def test_an_echoed_prompt_is_removed():
    assert repair_prompt_echo("user\nWrite.\nYour Caption:\nThe image shows rain.\n") == "The image shows rain."
    assert repair_prompt_echo("user\n YOUR CAPTION (100 words): The image shows rain.") == "The image shows rain."


@pytest.mark.parametrize(
    "caption",
    ["The image shows rain. YOUR CAPTION: no", "user\nWrite.", "users wait.", "user, see your caption: x", ""],
)
def test_captions_without_an_echo_stay(caption):
    assert repair_prompt_echo(caption) == caption


def test_two_lacking_word_pairs_are_appended():
    assert append_base_caption_words("A Red car", "a red car on the street") == "A Red car. car on; on the"
    assert append_base_caption_words("A red car on", "a red car on fire") == "A red car on. on fire"
    assert append_base_caption_words("A red car", "a red car") == "A red car"
    assert append_base_caption_words("A red car", "") == "A red car"


def test_what_is_appended_to_a_long_caption_is_cut_again():
    long = " ".join(["word"] * 106)
    assert append_base_caption_words(long, "a red car") == f"{long}. . "
    assert append_base_caption_words(f"{long} more", "word") == f"{long} . "
    assert append_base_caption_words(long, "word") == long
    shorter = " ".join(["word"] * 104)
    assert append_base_caption_words(shorter, "a red car") == f"{shorter}. a red; . "

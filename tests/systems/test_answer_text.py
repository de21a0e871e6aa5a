import pytest

from diptych.systems.answer_text import leaves_thinking_open, remove_thinking, target_end


@pytest.mark.parametrize(
    ("text", "answer", "removed"),
    [
        (" A caption. ", "A caption.", False),
        ("<think>\nWho?\n</think>\n\nA caption.", "A caption.", True),
        ("<think>Who is it, and where", "", True),
        ("A caption. <think>Is it", "A caption.", True),
        ("Who?</think> A caption.", "A caption.", True),
        ("<think>a</think>One <think>b</think>two", "One two", True),
        ("<think></think>", "", True),
        ("", "", False),
    ],
)
def test_thoughts_are_removed(text, answer, removed):
    assert remove_thinking(text) == (answer, removed)


def test_a_prompt_may_begin_the_thoughts():
    assert leaves_thinking_open("<|Assistant|><think>\n")
    assert not leaves_thinking_open("<|Assistant|><think>\n\n</think>\n\n")
    assert not leaves_thinking_open("<|Assistant|>")


def grown(text: str, target_words: int) -> str | None:
    """What is kept of a text that comes sign by sign; None where it never ends."""
    for length in range(1, len(text) + 1):
        end = target_end(text[:length], target_words)
        if end is not None:
            return text[:end]
    return None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One two. Three four five. Seven eight nine.", "One two. Three four five."),
        ("One two three four. Five six", "One two three four."),
        ("One two three 3.5 million people. Then more", "One two three 3.5 million"),  # a quarter more, no end
        ('One two three four?" Five six', 'One two three four?"'),
        ("One two U.S. Mr. J. Doe", "One two U.S. Mr. J."),  # cut, but not ended
        ("One two three Dr. Ng. More", "One two three Dr. Ng."),
        ("One two three four. five six", "One two three four. five"),
        ("One two three four.", None),
        ("One two three", None),
        ("One.  Two.\n\nThree. Four.\n\nFive.", "One.  Two.\n\nThree. Four."),
    ],
)
def test_a_caption_ends_with_the_sentence(text, kept):
    assert grown(text, target_words=4) == kept


def test_a_sign_half_written_begins_no_sentence():
    assert target_end("One two three four. \ufffd", 4) is None
    assert target_end("One two three four. É", 4) == len("One two three four.")

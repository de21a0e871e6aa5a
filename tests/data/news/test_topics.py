import pytest

from diptych.data.news.topics import GENERAL, topic_of


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("The minister lost the vote in parliament.", "politics"),
        ("Two teams, one trophy: the Cup Final was lost in the stadium by the company's team.", "sports"),
        ("The senator said that voting is a tale.", GENERAL),  # "vote" and "ale" are no words of it
        ("Floods and wildfires after a drought, said the president.", "environment"),
        ("One match in one hospital.", "sports"),  # of equally many the earlier
        ("", GENERAL),
    ],
)
def test_topics(text, topic):
    assert topic_of(text) == topic

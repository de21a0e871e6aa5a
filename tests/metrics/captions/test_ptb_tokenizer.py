"""What the rules give, case by case; all expected tokens were read off Stanford CoreNLP 3.4.1."""

import json

import pytest

import golden_files
from diptych.metrics.captions import ptb_tokenizer
from diptych.metrics.captions.ptb_tokenizer import tokenize


def joined(texts):
    return [" ".join(tokens) for tokens in tokenize(texts)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A man, a plan: a canal!", "a man a plan a canal"),
        ("", ""),
        (" \n\t ?!\n", "?!"),
        ("... -- - \"'` ; :", ""),
        ("line\nbreak\r\nhere", "line break here"),
        # abbreviations and numbers
        ("The U.S. economy grew 3.5 percent. He left the U.S.", "the u.s. economy grew 3.5 percent he left the u.s."),
        ("$1,000 and US$5, £3.20, €4.5bn, 5¢", "$ 1,000 and us$ 5 # 3.20 $ 4.5 bn 5 cents"),
        (
            "Mr. Smith of Acme Inc. met Dr. Jones on Feb. 27, 2022",
            "mr. smith of acme inc. met dr. jones on feb. 27 2022",
        ),
        ("At 5 p.m. No. 5 said no. One left.", "at 5 p.m. no. 5 said no one left"),
        ("It is I. The man. J. Smith", "it is i the man j. smith"),
        ("Plan B. But J.R.R. Tolkien", "plan b but j.r.r. tolkien"),
        ("In Wash. they wash. In Ill. he is ill.", "in wash. they wash in ill. he is ill"),
        ("these shelves., here", "these shelves. here"),
        ("-5 +3 50% 5:30pm 1990s 5th 10-year-old 3.5-year", "-5 +3 50 % 5:30 pm 1990s 5th 10-year-old 3.5-year"),
        ("2022-02-27 27/02/2022 24/7 1/2-mile 1.5-2.5", "2022-02-27 27/02/2022 24/7 1/2-mile 1.5-2 .5"),
        ("1½ cups, ⅔", "1 1/2 cups 2/3"),
        # contractions and other apostrophes
        ("don't can't won’t I'm it’s they've she'd", "do n't ca n't wo n't i 'm it 's they 've she 'd"),
        ("gonna cannot Gotta lemme wanna-be cannots", "gon na can not got ta lem me wanna-be cannots"),
        ("'tis 'twas 'em ’em rock 'n' roll ol' y'all", "'t is 't was 'em ’em rock 'n' roll ol' y' all"),
        ("James' 'single' John's dogs' it's.", "james single john 's dogs it 's"),
        ("O'Brien o'clock Shi'ite N'Djamena Qur'an l'hasard", "o'brien o'clock shi'ite n'djamena qur an l'hasard"),
        ("the '80s, 1980's, '08 ’90s", "the '80s 1980 's '08 ’90s"),
        # quotes, dashes, ellipses, brackets
        ("“double” ‘single’ «guillemets» ``tex'' \"plain\"", "double single guillemets tex plain"),
        ("a – b — c—d 1990–1995 x--y ---- -----", "a b c d 1990 1995 x y -----"),
        ("wait... stop…. no . . . end", "wait stop no end"),
        ("(AP) [sic] {x} (500)", "-lrb- ap -rrb- -lsb- sic -rsb- -lcb- x -rcb- -lrb- 500 -rrb-"),
        ("What?!? No!! ¿Que?", "what ?!? no !! ¿ que"),
        # joined words, addresses, signs
        ("and/or he/she, a/b/c/d U.S.-led pro-U.S. AT&T", "and/or he/she a/b/c / d u.s.-led pro-u.s. at&t"),
        ("REUTERS/John AP Photo/Ann F-16 Covid-19 a_b", "reuters/john ap photo/ann f-16 covid-19 a_b"),
        ("http://t.co/AbC1, www.bbc.co.uk. example.com/x", "http://t.co/abc1 www.bbc.co.uk example.com / x"),
        ("me@x.org @user #Tag #1 C++", "me@x.org @user #tag # 1 c++"),
        ("end.Then stop", "end.then stop"),
        ("R&amp;D &lt;b&gt; &quot;q&quot; a&nbsp;b", "r&d < b > q a b"),
        ("<b>bold</b> 5 < 6 <br/>", "<b> bold </b> 5 < 6 <br/>"),
        ("5°C ™ § • 3 × 4 =", "5 ° c ™ § • 3 × 4 ="),
        # letters of all kinds; emoji and control characters vanish
        ("Café Zürich Київ’s 東京 naïve Łódź", "café zürich київ 's 東京 naïve łódź"),
        ("a😀b 👍🏽 so\xadft c\x08d e\u200bf", "a b soft c d e f"),
        ("ΑΣ-h ΟΔΟΣ ΑΣ. 5Σ", "ασ-h οδος ας 5σ"),
        ("http://a.b/c\u3000  ", "http://a.b/c"),
        (":) :-( ;D !", ":-rrb- :--lrb- ;d"),
    ],
)
def test_tokens(text, tokens):
    assert joined([text]) == [tokens]


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [
        (["-- H. G.", "The end"], ["h. g", "the end"]),
        (["-- H. G.", "the end"], ["h. g.", "the end"]),
        (["-- H. G."], ["h. g."]),
        (["Donald A.", "He ran"], ["donald a", "he ran"]),
        (["Donald A.", "", "He ran"], ["donald a", "", "he ran"]),
        (["Donald A.", "Hers"], ["donald a.", "hers"]),
        (["the U.S.", "In it"], ["the u.s.", "in it"]),
        (["in the '80s", "x"], ["in the '80s", "x"]),
        (["No.", "5 men"], ["no.", "5 men"]),
        (["No.", "men"], ["no", "men"]),
        (["are always rush'n. Therefore fire engines are red."], ["are always rush n. therefore fire engines are red"]),
        (["2", "1/2 cups", "(212)", "555-1234"], ["2", "1/2 cups", "-lrb- 212 -rrb-", "555-1234"]),
        (['<a b="', '">'], ["< a b =", ">"]),  # what the evaluation would take for one line
    ],
)
def test_the_next_text_counts(texts, tokens):
    assert joined(texts) == tokens
    assert joined(["x", *texts]) == ["x", *tokens]


def test_one_text_is_not_a_corpus():
    with pytest.raises(ValueError, match="found one text; put it in a list"):
        tokenize("a dog")


def test_no_texts():
    assert tokenize([]) == []


def test_what_was_read_before_does_not_count(monkeypatch):
    monkeypatch.setattr(ptb_tokenizer, "_REMEMBERED", {})
    texts = ["A. The", "x A.", "etc.", "", "No. 5 etc. Then", "5 5/8 5", "dog.", ". . .", "dog. . . . x"] * 2
    assert tokenize(texts) == tokenize(texts)
    for start in range(len(texts)):
        for stop in range(start, len(texts)):
            again = tokenize(texts[start:stop])
            monkeypatch.setattr(ptb_tokenizer, "_REMEMBERED", {})
            assert again == tokenize(texts[start:stop])


def test_numbers_written_with_blanks_are_one_token():
    assert tokenize(["2 1/2 cups"]) == [["2\xa01/2", "cups"]]
    (tokens,) = tokenize(["(212) 555-1234 or 020 7946 0958"])
    assert tokens == ["-lrb-212-rrb-\xa0555-1234", "or", "020\xa07946\xa00958"]


def test_golden_texts(golden):
    content = golden("tokens.json")
    assert joined(content["texts"]) == content["text_tokens"]


def test_golden_captions(golden):
    content = golden("scores.json")
    assert joined(content["predictions"]) == content["prediction_tokens"]


def test_hard_texts():
    # Abbreviations, addresses, contractions, tags, single signs and what not; written by `make golden`.
    content = json.loads((golden_files.COMMITTED / "caption_metrics" / "hard_texts.json").read_text())
    for text, ours, theirs in zip(content["texts"], joined(content["texts"]), content["text_tokens"], strict=True):
        assert ours.split(" ") == theirs.split(" "), text

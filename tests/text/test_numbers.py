from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.text.folding import fold, origins
from diptych.text.number_words import written
from diptych.text.numbers import read_words

# Every spelling of a row says the same, and no two rows do. "|" parts them.
SAME = """
0 | zero | 00 | 0.0 | -0 | ٠
1 | one | first | 1st | 01 | １ | ① | ❶ | ¹
2 | two | second | 2nd | ② | ²
3 | three | third | 3rd | ٣ | ३ | ③ | ፫
4 | four | fourth | 4th
5 | five | fifth | 5th | 5.0 | 5.00 | +5
8 | eight | eighth | 8th
9 | nine | ninth | 9th | ９
10 | ten | tenth | 10th | ⑩ | ፲
12 | twelve | twelfth | 12th | a dozen | one dozen | 1 dozen
13 | thirteen | thirteenth | 13th
20 | twenty | twentieth | 20th
21 | twenty-one | twenty one | twenty-first | twenty first | 21st | Twenty-One
22 | twenty-two | twenty-second | 22nd
24 | two dozen | 24.0 | 2 dozen
40 | forty | fourty | fortieth
99 | ninety-nine | ninety-ninth
100 | a hundred | one hundred | hundredth | 1 hundred | 100th
101 | one hundred and one | a hundred and one | hundred and one | one hundred and first | 101st
105 | hundred and five | a hundred and five | one hundred five | 105.0
250 | two hundred and fifty | two hundred fifty | two-hundred-and-fifty
999 | nine hundred and ninety-nine | nine hundred ninety-nine
1000 | 1,000 | 1 000 | 1k | 1K | a thousand | one thousand | 1\xa0000 | 1\u202f000 | 1\u2009000 | ten hundred
1001 | a thousand and one | one thousand and one | 1,001 | thousand and one
1500 | 1,500 | 1.5k | 1\xa0500 | 1’500 | 1500.0 | fifteen hundred | one thousand five hundred | one and a half thousand
2019 | two thousand nineteen | two thousand and nineteen
3200 | 3,200 | 3.2 thousand | 3.2k | three thousand two hundred | three thousand, two hundred
200000 | two hundred thousand | 200k | 200,000 | 0.2m | two lakh | 2 lakh | 2 lakhs
250000 | a quarter of a million | quarter of a million | 250,000 | 250k | 0.25 million | ¼ million
500000 | half a million | half-a-million | a half million | half million | 500,000 | 0.5m | ½ million | 1/2 million
750000 | three quarters of a million | three-quarters of a million | 750k | 3/4 of a million | 0.75m
1000000 | a million | 1 million | 1 000 000 | 1m | 1M | 1mn | 1 mn | 1,000,000 | 1.000.000 | 1\xa0000\xa0000
1500000 | 1.5m | 1½ million | 1 1/2 million | a million and a half | one and a half million | 1.5 million | 1.5mln
2500000 | 2½ million | 2.5 million | two and a half million | 2½m | 2 1/2 million | 2.5-million | 2 ½ million
2300000 | two million three hundred thousand | two million, three hundred thousand | 2.3m | 2.3 million
10000000 | ten million | one crore | 10 000 000 | 1 crore | 10m | 1,00,00,000 | 10.000.000
1000000000 | a billion | 1bn | 1 bn | 1 billion | one thousand million | a thousand million | 1BN
4500000000 | four and a half billion | 4½ billion | 4.5bn | 4,500 million | 4.5 Bn
1000000000000 | a trillion | 1tn | 1trn | one trillion | 1,000bn
0.1 | one-tenth | one tenth | 1/10 | ⅒ | 0.10 | .1 | .10
0.5 | ½ | 1/2 | one half | one-half | .5 | 0.50 | 1⁄2
0.25 | ¼ | 1/4 | one quarter | one-quarter | 0.250
0.75 | ¾ | 3/4 | three quarters | three-quarters | three fourths
1/3 | ⅓ | one third | one-third | 1⁄3
2/3 | ⅔ | two thirds | two-thirds
2.5 | 2½ | 2 1/2 | two and a half | 2 and a half | 2 ½ | 2.50 | 2-1/2
2.75 | 2¾ | 2 3/4 | two and three quarters | 2.750
1500.5 | 1,500.5 | 1.500,5 | 1\xa0500,50 | 1500.50
-5 | −5 | minus 5 | minus five | −5.0 | ﹣5
-2.5 | −2½ | minus two and a half | minus 2.5
50% | 50 % | 50 per cent | 50 percent | 50pct | 50 pct | fifty percent | fifty per cent | 50pc | ５０％ | 50.0%
50 percentage points | 50pp | 50 pp | 50 %-points | fifty percentage points
5 percentage points | 5pp | five percentage points | 5-percentage-point
0.5% | half a percent | half a per cent | half of one per cent
0.5 percentage points | half a percentage point | half a percentage-point
2.5% | 2½% | 2.5 per cent | two and a half percent | 2½ per cent | 2.50 %
$5 | 5 dollars | five dollars | US$5 | US $5 | U.S. $5 | 5 US dollars | 5 U.S. dollars | $5.00 | USD 5 | 5 USD | ＄5
$5m | US$5m | $5 m | $5 million | 5 million dollars | five million dollars | $5,000,000 | 5m dollars | $5M | USD 5m
$1.5bn | $1.5 billion | $1.5b | $1.5B | 1.5 billion dollars | 1.5bn US dollars | US$1.5bn | $1½ billion | $1,500m
$2tn | $2T | $2 trillion | 2 trillion dollars | two trillion dollars
$3,200.50 | 3200.5 dollars | $3200.5
-$5 | $-5 | −$5 | −5 dollars
A$5 | AU$5 | 5 Australian dollars | AUD 5
C$5m | 5 million Canadian dollars | CA$5m | CAD 5m
HK$5 | 5 Hong Kong dollars | HKD 5
£5m | £5 million | 5 million pounds | five million pounds | 5m pounds | GBP 5m | £5 m | 5 million pounds sterling
£5bn | £5 billion | 5bn pounds
£20 | 20 pounds | twenty pounds
€2.5bn | 2.5 billion euros | €2½bn | EUR 2.5bn | 2.5bn euro
¥500 | 500 yen | JPY 500
₹500 | Rs 500 | Rs. 500 | Rs.500 | Rs500 | 500 rupees
R$5m | 5 million reais
₹2 crore | Rs 2 crore | Rs 2 cr | 2 crore rupees | ₹20,000,000 | INR 2 crore
50¢ | 50 cents | fifty cents
50 pence | fifty pence
1990s | 1990's | '90s | ’90s | ‘90s | 1990s'
2000s | 2000's | '00s
1800s | 1800’s
1990 | 1,990
1 2 3 | one two three | 1, 2, 3 | 1-2-3
3-2 | 3–2 | 3 -2 | 3—2
4 May 2019 | 04 May 2019 | 2019-05-04 | 2019-05-04T00:00:00Z | 4th May 2019
10:30 am | 10.30 am | 10.30am | 10.30 a.m.
9/11 | 9 11
24/7 | 24 7
5 seconds | five seconds | 5-second
30-second | 30 seconds
20-year-old | 20 years old | twenty years old
2½-year | two and a half years
6ft | six feet | 6-foot
12 °C | 12℃ | 12°C
4x100 m | 4×100 m
30-metre | 30 metres | 30 meters | thirty metres | 30 m
two million and five million | 2m and 5m | 2,000,000 and 5,000,000
two hundred and three hundred | 200 and 300
five thousand and two thousand | 5k and 2k
one million and two hundred thousand | 1,200,000
several hundred | several Hundred
millions of people | Millions of people
1.500 | 1.5
1e6 | 1 E 6
1 500 | 1  500
"""
ROWS = [[spelling.strip(" ") for spelling in line.split(" | ")] for line in SAME.strip().split("\n")]
EQUAL = [(row[0], other) for row in ROWS for other in row[1:]]
DIFFERENT = [
    *[(first[0], second[0]) for first, second in pairwise(ROWS)],
    ("50%", "50"), ("50%", "50 percentage points"), ("5 percent", "5 percentage"), ("$5m", "£5m"), ("$5", "A$5"),
    ("A $5 meal", "A$5 meal"), ("5", "-5"), ("1990s", "1990"), ("90s", "1990s"), ("1,500", "1.500"), ("1.5", "1,5"),
    ("2½", "21/2"), ("10²", "102"), ("½", "1 2"), ("5 million", "5 billion"), ("5m", "5bn"), ("5bn", "5tn"),
    ("a third", "one third"), ("two thirds", "2 3"), ("a million", "million"), ("half a million", "half"),
    ("several hundred", "100"), ("30-second", "30 2nd"), ("per second", "per 2nd"), ("twenty-one", "20 one"),
    ("twenty thirty", "50"), ("twenty thirty", "2030"), ("one, two hundred", "1200"), ("five hundred. Three", "503"),
    ("'20s", "1920s"), ("3-2", "1"), ("9/11", "0.8"), ("4/10", "0.4"), ("24/7", "3.4"),
    ("1/2/2019", "0.5 2019"), ("£5m", "£5"), ("5k", "5"), ("1.5bn", "1.5m"), ("$5", "5"), ("50p", "£50"),
    ("1 000", "1 000 000"), ("1 000", "1 0"), ("R$5", "$5"), ("R$5", "R 5 dollars"), ("half a percent", "half"),
    ("Years", "Year"), ("several years", "several year"), ("が", "か"), ("ガス", "カス"), ("हिन्दी", "हन्द"), ("ก็", "ก"),
]  # fmt: skip


def read(text: str) -> list[str]:
    return [word.text for word in read_words(text)]


def test_there_are_enough_pairs():
    assert len(EQUAL) + len(DIFFERENT) >= 300
    assert len(EQUAL) >= 220


@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_equal(first, second):
    assert read(first) == read(second) != []


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different(first, second):
    assert read(first) != read(second)


# Test code writes a number in one of the many ways that people do.
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = (("trillion", 10**12, "tn"), ("billion", 10**9, "bn"), ("million", 10**6, "mn"), ("thousand", 10**3, "k"))


def in_words(number: int, hyphen: str, joiner: str) -> str:
    if number < 20:
        return UNITS[number]
    if number < 100:
        return TENS[number // 10] + (hyphen + UNITS[number % 10] if number % 10 else "")
    for name, scale, _ in (*SCALES, ("hundred", 100, "")):
        if number >= scale:
            head, rest = f"{in_words(number // scale, hyphen, joiner)} {name}", number % scale
            between = joiner if rest < 100 else " "
            return head + (between + in_words(rest, hyphen, joiner) if rest else "")
    raise AssertionError(number)


def spellings(number: int) -> list[str]:
    found = [str(number), f"0{number}", f"{number}.0", f"+{number}", fullwidth(number), f"{number:,}"]
    found += [f"{number:,}".replace(",", blank) for blank in ("\xa0", "\u202f", "\u2009", "\u2007", "'", "’")]
    found += [in_words(number, hyphen, joiner) for hyphen in "- " for joiner in (" and ", " ")]
    found += [in_words(number, "-", " and ").capitalize(), in_words(number, "-", " and ").upper()]
    for name, scale, short in SCALES:
        if number and number % (scale // 100) == 0 and number >= scale:
            amount = written(Fraction(number, scale))
            found += [f"{amount} {name}", f"{amount}-{name}", f"{amount}{short}", f"{amount}\xa0{name}"]
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return [*found, f"{number}{ending}", f"{number:,}{ending}"]


def fullwidth(number: int) -> str:
    return "".join(chr(ord("０") + int(digit)) for digit in str(number))


ROUND = st.builds(lambda head, zeros: head * 10**zeros, st.integers(0, 999), st.integers(0, 12))
NUMBERS = st.one_of(st.integers(0, 2000), st.integers(0, 10**6), st.integers(0, 10**15 - 1), ROUND)


@given(NUMBERS)
def test_all_spellings_of_a_number_are_one(number):
    for spelling in spellings(number):
        assert read(spelling) == [str(number)], spelling
        assert read(f"about {spelling} people") == ["about", str(number), "people"], spelling


@given(NUMBERS, NUMBERS, st.data())
def test_different_numbers_are_read_different(one, other, data):
    if one != other:
        first, second = data.draw(st.sampled_from(spellings(one))), data.draw(st.sampled_from(spellings(other)))
        assert read(first) != read(second)


@given(st.fractions(0, 1000, max_denominator=10))
def test_signs_of_fractions_and_fractions_with_a_slash_are_one(value):
    whole, rest = divmod(value, 1)
    expected = [written(value)]
    slash = f"{whole} {rest.numerator}\u2044{rest.denominator}" if whole < 1000 else str(whole)
    assert read(slash) == expected
    if whole < 1000 and rest:
        assert read(f"{whole} {rest}") == expected
    if whole and rest == Fraction(1, 2):
        assert read(f"{whole}½") == read(f"{in_words(whole, '-', ' and ')} and a half") == expected


@given(st.text())
def test_any_text_is_read_and_words_lie_in_it(text):
    folded, places = fold(text), origins(text)
    assert len(places) == len(folded) + 1 and places == sorted(places) and fold(folded) == fold(fold(folded))
    for word in read_words(text):
        assert 0 <= word.start < word.end <= len(folded) and not any(sign.isspace() for sign in word.text)


@pytest.mark.parametrize(
    "text",
    ["9" * 10_000, "one hundred " * 5_000, "million " * 5_000, "two thousand and " * 5_000, "1,000" * 5_000,
     "1,000," * 20_000, "a.b." * 20_000, "half of a " * 5_000, "-" * 50_000, "1⁄0", "½" * 10_000, "❶" * 10_000,
     "\ud83d 5", "1.000." * 20_000, "1'000'" * 20_000, "12-30-" * 10_000, "per " * 10_000, "9" * 39 + " trillion",
     "minus " * 10_000],
    ids=lambda text: text[:12].encode("ascii", "backslashreplace").decode(),
)  # fmt: skip
@pytest.mark.hostile("limits")
def test_long_texts_of_one_kind_are_read_in_time(text):
    read_words(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Łódź", "Lodz"), ("Søren", "Soren"), ("Đoković", "Dokovic"), ("Weiß", "Weiss"), ("Æthelred", "Aethelred"),
     ("Cœur", "Coeur"), ("Þór", "Thor"), ("Sigurður", "Sigurdur"), ("Işık", "Isik"), ("Ħamrun", "Hamrun"),
     ("Paraŀlel", "Parallel"), ("ŁÓDŹ", "lodz"), ("Ｏｂａｍａ", "Obama"), ("O’Brien", "Oʼbrien"),
     ("Ba\xadrack", "Barack"),
     ("José", "Jose\u0301"), ("U.S.", "US"), ("Hawaiʻi", "Hawai'i"),
     ("J. K. Rowling", "J.K. Rowling"), ("J. R. R. Tolkien", "JRR Tolkien"), ("Ɓaɗa", "Bada"), ("Ⱥ", "A"), ("Ʉ", "U"),
     ("が", "か\u3099"), ("1\ufe0f\u20e3", "1"), ("ŉ", "'n"), ("مُحَمَّد", "محمد"), ("שָׁלוֹם", "שלום")],
)  # fmt: skip
def test_letters_are_folded(first, second):
    assert read(first) == read(second) != []

"""English words and signs for numbers, money and shares: the tables that `numbers` reads by."""

from __future__ import annotations

from collections.abc import Mapping

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL_ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", *(f"{word}th" for word in _SMALL[13:]),
)  # fmt: skip

SMALL: Mapping[str, int] = {word: number for number, word in enumerate(_SMALL)}
TENS: Mapping[str, int] = {word: 10 * number for number, word in enumerate(_TENS, start=2)} | {"fourty": 40}
SMALL_ORDINALS: Mapping[str, int] = {word: number for number, word in enumerate(_SMALL_ORDINALS, start=1)}
TENS_ORDINALS: Mapping[str, int] = {f"{word[:-1]}ieth": number for word, number in TENS.items()}
SCALES: Mapping[str, int] = {
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "dozen": 12,
    "lakh": 10**5,
    "crore": 10**7,
    "lakhs": 10**5,
    "crores": 10**7,
}
HUNDRED = "hundred"
ROUND_ORDINALS: Mapping[str, int] = {
    "hundredth": 100, "thousandth": 10**3, "millionth": 10**6, "billionth": 10**9,
}  # fmt: skip
# Behind digits, with or without a blank; those of one letter only without, as written, and `MONEY_LETTERS` of money.
SHORT_SCALES: Mapping[str, int] = {
    "bn": 10**9, "mn": 10**6, "mln": 10**6, "tn": 10**12, "trn": 10**12, "bln": 10**9,
}  # fmt: skip
LETTER_SCALES: Mapping[str, int] = {"k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6}
MONEY_LETTERS: Mapping[str, int] = {"b": 10**9, "B": 10**9, "t": 10**12, "T": 10**12} | {
    "cr": 10**7, "Cr": 10**7,
}  # fmt: skip
DENOMINATORS: Mapping[str, int] = {
    "half": 2, "halves": 2, "quarter": 4, "quarters": 4, "hundredths": 100, "thousandths": 1000,
    **{word: number for word, number in SMALL_ORDINALS.items() if number > 2},
    **{f"{word}s": number for word, number in SMALL_ORDINALS.items() if number > 2},
}  # fmt: skip
# What half of one is said of, besides a scale: per cent, and percentage points.
PARTED = frozenset([("per", "cent"), ("percentage", "point")])
UNITS: Mapping[str, str] = {
    "years": "year", "months": "month", "weeks": "week", "days": "day", "hours": "hour", "minutes": "minute",
    "seconds": "second", "miles": "mile", "feet": "foot", "ft": "foot", "inches": "inch", "km": "kilometre",
    "kilometres": "kilometre", "kilometers": "kilometre", "kilometer": "kilometre",
}  # fmt: skip

CURRENCY_SIGNS: Mapping[str, str] = {
    "$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee", "₽": "rouble", "₩": "won", "₺": "lira",
    "₴": "hryvnia", "₦": "naira", "₪": "shekel", "₱": "peso", "₫": "dong", "₿": "bitcoin", "¢": "cent",
    "R$": "reais", "Rs": "rupee", "Rs.": "rupee",
}  # fmt: skip
# What stands before the sign of a dollar, and the words for it.
DOLLARS: Mapping[str, tuple[str, ...]] = {
    "US": (), "U.S": (), "U.S.": (), "A": ("australian",), "AU": ("australian",), "C": ("canadian",),
    "CA": ("canadian",), "Can": ("canadian",), "HK": ("hong", "kong"), "NZ": ("new", "zealand"),
    "S": ("singapore",), "NT": ("taiwan",),
}  # fmt: skip
CURRENCY_CODES: Mapping[str, tuple[str, ...]] = {
    "USD": ("dollar",), "GBP": ("pound",), "EUR": ("euro",), "JPY": ("yen",), "INR": ("rupee",), "RUB": ("rouble",),
    "AUD": ("australian", "dollar"), "CAD": ("canadian", "dollar"), "NZD": ("new", "zealand", "dollar"),
    "HKD": ("hong", "kong", "dollar"), "SGD": ("singapore", "dollar"), "CHF": ("franc",), "CNY": ("yuan",),
}  # fmt: skip
CURRENCIES: Mapping[str, str] = {
    "dollars": "dollar", "euros": "euro", "pounds": "pound", "rupees": "rupee", "roubles": "rouble", "rubles": "rouble",
    "ruble": "rouble", "cents": "cent", "pence": "penny", "pennies": "penny", "francs": "franc", "pesos": "peso",
}  # fmt: skip
MONEY_WORDS = frozenset([*CURRENCIES.values(), *CURRENCIES, *CURRENCY_SIGNS.values(), "yuan", "sterling"])

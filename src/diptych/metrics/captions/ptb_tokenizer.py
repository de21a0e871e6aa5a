"""The tokens on which COCO's caption evaluation counts n-grams: Penn Treebank style, lower case, little punctuation.

That evaluation runs Stanford CoreNLP 3.4.1's tokenizer in Java and removes a list of punctuation. The rules here were
found by observing that program and are compared with its output in the tests. Where it splits or joins oddly, so does
this: "end.Then" is one token, "Qur'an" is two, "word.," keeps the full stop, emoji vanish.
"""

from __future__ import annotations

import re
from functools import lru_cache

# What the evaluation removes. Brackets are not in its list as the tokenizer writes them (-lrb-), so they stay.
REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0655\u0670\u06d6-\u06ed"
_INDIC = "\u0900-\u0963\u0966-\u0e3e\u0e40-\u0e4e"
_LETTER = rf"(?:[^\W\d_²³¹¼½¾⁰-₉⅐-↋①-⓿㈀-㏿]|[{_MARKS}{_INDIC}])"
_ALNUM = rf"(?:{_LETTER}|\d)"
_APOSTROPHE = "['’]"
_PART = rf"(?:[dolDOL]{_APOSTROPHE}{_LETTER})?{_ALNUM}+"
_WORD = rf"{_LETTER}{_ALNUM}*(?:[.!?]{_LETTER}{_ALNUM}*)*"
_HYPHENATED = rf"{_PART}(?:[-‐‑]{_PART})*"
_INITIALS = r"[A-Za-z](?:\.[A-Za-z])+\."
_ADDRESS = r'[^\s"<>|(){}]'
_ASCII_PART = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_FILE_TYPES = "bmp|c|cpp|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|png|pptx?|py|sql|tar|txt|wav|x|xml|zip"

# Abbreviations that keep their full stop: months, days, states, companies, titles, ranks, streets, and others.
_SHORTENED = (
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thu|thurs|fri|ala|ariz|calif|colo|conn|ct|dak|fla|ga|"
    "ind|kans?|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc?|wyo|assn|bancorp|bhd|bros|cos?|corp|dept|inc|"
    "intl|ltd|natl|plc|rt|sys|univ|adm|asst|attys?|brig|capt|cmdr|col|comdr|cpl|det|drs?|ens|esq|gen|govs?|hon|insp|jr|"
    "lieut|lt|maj|messrs|mlle|mme|mrs?|ms|msgr|pfc|pres|profs?|pvt|reps?|rev|sens?|sfc|sgt|spc|sr|supts?|treas|ave|"
    "bldg|blvd|elec|est|ext|ft|mt|rd|sq|ste?|tel|adj|adv|al|alex|assoc|cf|cie|etc|invt|jos|mfg|mtg|ph|p?ptes?|p?ptys?|"
    "seq|vs|wm"
)
_SHORTENED_CAPITALISED = "A(?i:rk|z)|D(?i:el)|I(?i:ll)|L(?i:a)|M(?i:ass|iss)|O(?i:re)|P(?i:a)|T(?i:ex)|W(?i:ash)"
_SHORTENED_BEFORE_NUMBER = "art|ca|fig|nos?|op|pp"
# After a single letter and a full stop these begin a sentence: the full stop is then not the letter's.
_SENTENCE_STARTERS = (
    "A|About|After|An|As|At|But|He|Her|Here|However|If|In|It|Last|Many|More|Now|Once|One|Other|Our|She|Since|So|Some|"
    "Such|That|The|Their|Then|There|These|They|This|We|What|When|While|Yet|You"
)

# The longest match wins, of equally long ones the first. A rule's groups, if it has some, are its tokens.
_RULES = [
    # tags, addresses
    r"""<!--[^<>]*-->|<[!?]?/?[A-Za-z][\w:.-]*(?:\s+[\w:.-]+(?:\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))?)*\s*[/?]?>""",
    r"<[^\s<>@]+@[^\s<>@]+>|&lt;|&gt;|&(?:#\d+|[A-Za-z](?:acute|grave|uml|circ|tilde|cedil));",
    rf"(?i:https?)://[^\s\"<>|(){{}}./]+[./]{_ADDRESS}*(?![.!?,-]){_ADDRESS}",
    rf"(?i:www)\.(?:[^\s\"<>|.!?(){{}},/]+\.)+[A-Za-z]{{2,4}}(?:/{_ADDRESS}+(?![.!?,-]){_ADDRESS})?",
    rf"(?:{_LETTER}{_ALNUM}*\.)+(?i:com|net|org|edu)/{_ADDRESS}+(?![.!?,-]){_ADDRESS}",
    r'[A-Za-z0-9][^\s"<>|(){}]*@(?:[^\s"<>|(){}.]+\.)*[^\s"<>|(){}.]+',
    rf"@[A-Za-z_][A-Za-z0-9_]*|#{_LETTER}+|##+",
    rf"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*\.(?i:{_FILE_TYPES})(?=[\s.,:;!?]|$)",
    # numbers: telephone, fraction, plain, 3.5-year
    r"(?:\(\d{2,3}\)\s?|\+{0,2}(?:\d{2,4}[-\s])?\d{2,4}[-\s])\d{3,4}[-\s]?\d{3,5}",
    r"(?:\d{1,4}[-\s])?\d{1,4}[/⁄]\d{1,4}",
    r"[-+]?(?:\d*(?:[.:,]\d+)+|\d+)",
    rf"{_ALNUM}+(?:(?:\.|(?<=\d),(?=\d)){_ALNUM}+)+(?:-{_ALNUM}+)+",
    # words that are cut in two, and what follows the cut
    rf"(?i:(can)(not)|(gon)(na)|(got)(ta)|(lem)(me)|(gim)(me)|(wan)(na))(?![-'’]|{_ALNUM})",
    r"(?i:('t)(is|was))(?=n't|[^\w'’-]|$)",
    rf"([A-Za-z]*[A-MO-Za-mo-z])([nN]{_APOSTROPHE}[tT])(?!{_LETTER})",
    rf"[nN]{_APOSTROPHE}[tT](?!{_LETTER})",
    rf"(?i:{_APOSTROPHE}(?:[msd]|re|ve|ll))(?!{_LETTER})",
    # apostrophes that belong to the word
    rf"(?i:{_APOSTROPHE}(?:n{_APOSTROPHE}|n(?!{_LETTER})|em|till?|cause)|(?:[ldj]|ol|somethin|dunkin){_APOSTROPHE})",
    rf"(?i:y{_APOSTROPHE}(?=[a-z]))|[nN]at{_APOSTROPHE}l(?!{_LETTER})",
    rf"{_APOSTROPHE}\d\d(?:s(?![\w'’])|(?=\s|$))",
    rf"[A-HJ-XZcn]{_APOSTROPHE}[A-Za-z]{{2,}}|[A-Za-z]+[aeiou]{_APOSTROPHE}[aeiouA-Z][A-Za-z]*",
    # abbreviations
    rf"(?:{_HYPHENATED}-)?{_INITIALS}(?:-(?:{_INITIALS}|{_PART}))*",
    rf"(?:[A-Za-z]|[Ss]t|[MD]rs?)\.(?:-{_PART})?|(?:Ph|Ed)\.D\.",
    rf"(?:(?i:{_SHORTENED})|{_SHORTENED_CAPITALISED})\.",
    rf"(?i:{_SHORTENED_BEFORE_NUMBER})\.(?=\s*\d)",
    rf"{_HYPHENATED}\.(?=[,;:])",
    # words
    _WORD,
    _HYPHENATED,
    rf"{_ASCII_PART}(?:/{_ASCII_PART}){{1,2}}",
    r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)+",
    r"[A-Z]+(?:[&+][A-Z]+)+|[Cc]\+\+|[CF]#",
    # signs
    r"[A-Z]*\$|[£€¤¢]|[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]](?![A-Za-z])|\^_+\^|-_+-|>_+<",
    r"[!?]{2,}|\\\*|-+|\.+|_+|\*+|<<|>>|''|``",
    r"[!-/:-@\[-`{-~¡¥-©¬®-´¶-¹¼-¿×÷;·֊־׀׃׆׳״،؛؞؟٪٭۔।॥฿‖‗‘-„‛“”‟†-•…–—―‰-‸‹›※‾-⁂⁄⁰⁴-⁾₀-₎₤℀℁℃-℆℈℉℔№-℘℞-℣℥℧℩℮℺℻⅀-⅄⅊-⅍⅏"
    r"⅓-⅞←-⯿、。〒・！-／：-＠［-｀｛-･￠￡￥￦]",
]
_MATCHERS = [re.compile(rule).match for rule in _RULES]

_WRITTEN = {"£": "#", "¢": "cents", "…": "...", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"} | {
    signs: token
    for token, all_signs in {"`": "‘‛‹", "'": "’›", "''": '"“”«»', "--": "–—―", "$": "€¤"}.items()
    for signs in all_signs
}
_WRITTEN |= {"&lt;": "<", "&gt;": ">", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_ROUND_BRACKETS = str.maketrans({"(": "-lrb-", ")": "-rrb-"})  # in telephone numbers and smileys too
_CURLY_ENDING = re.compile("(?i:n’t|’(?:[msd]|re|ve|ll))")
_ENTITIES = {"&amp;": "&", "&quot;": '"', "&apos;": "'", "&nbsp;": " "} | {
    "&mdash;": "—",
    "&ndash;": "–",
}
# Windows' quotes and dashes, which old texts hold as control characters; a soft hyphen is nothing, emoji are a gap.
_CHARACTERS = str.maketrans(
    {"\x91": "‘", "\x92": "’", "\x93": "“", "\x94": "”", "\x96": "–", "\x97": "—", "\x80": "€", "\xad": ""}
)
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")

# Where a token depends on what follows a blank, or holds one. All else is cut at blanks and remembered by piece.
_ACROSS_BLANKS = re.compile(
    rf"[<&]|[\d)]\s+[\d(]|(?<!{_ALNUM})(?:[A-Za-z]|{_SHORTENED_BEFORE_NUMBER})\.\s", re.IGNORECASE
)
_PERHAPS_ACROSS_BLANKS = re.compile(r"[<&\d]|\.\s")  # the same, faster and too often
_LETTER_ENDS_SENTENCE = re.compile(rf"(?<!{_ALNUM})(?<![.'’-])([A-Za-z])\.(?=\s+(?:{_SENTENCE_STARTERS})(?:\s|$))")
_PIECES = re.compile(
    r"(?:[^\s<]*<[^<>]*>)+[^\s<]*"  # tags
    r"|\S*[\d)](?:\s[\d(]\S*)+"  # numbers beside numbers
    rf"|(?<!\S)(?:{_SHORTENED_BEFORE_NUMBER})\.\s+\d\S*(?:\s\d\S*)*"
    r"|\S+",
    re.IGNORECASE,
)
_SIMPLE = re.compile(r"([A-Za-z]{2,})[.,]?")  # most pieces
_ABBREVIATION = re.compile(rf"(?:(?i:{_SHORTENED})|{_SHORTENED_CAPITALISED})\.")
_CUT_WORDS = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])


def tokenize(text: str) -> list[str]:
    """The tokens of a caption or article, in order; none for a text of punctuation alone.

    A telephone number or a mixed number written with blanks ("2 1/2") is one token, with no-break spaces inside, as
    in Stanford's output. Any white space separates, line breaks too. Only the text itself is looked at: Stanford's
    program, given many captions as lines, takes a last single letter's full stop away where the next line begins with
    a word such as "The".
    """
    if not text.isascii():
        text = _BEYOND_16_BITS.sub(" ", text.translate(_CHARACTERS))
    across_blanks = _PERHAPS_ACROSS_BLANKS.search(text) and _ACROSS_BLANKS.search(text)
    pieces = _pieces(text) if across_blanks else text.split()
    tokens: list[str] = []
    for piece in pieces:
        tokens += _tokens(piece)
    return tokens


def _pieces(text: str) -> list[str]:
    if "&" in text:
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    return _PIECES.findall(_LETTER_ENDS_SENTENCE.sub(r"\1 .", text))


@lru_cache(maxsize=1 << 17)
def _tokens(piece: str) -> tuple[str, ...]:
    simple = _SIMPLE.fullmatch(piece)
    if simple and not (piece[-1] == "." and _ABBREVIATION.fullmatch(piece)):
        word = simple[1].lower()
        if word not in _CUT_WORDS:
            return (word,)
    tokens: list[str] = []
    position = 0
    while position < len(piece):
        longest = max(
            (match for matcher in _MATCHERS if (match := matcher(piece, position))), key=re.Match.end, default=None
        )
        if longest is None:
            position += 1  # white space, and characters that Stanford's tokenizer drops
            continue
        position = longest.end()
        tokens += (_written(token) for token in longest.groups() or (longest[0],) if token)
    return tuple(token for token in tokens if token not in REMOVED)


def _written(token: str) -> str:
    """The token as Stanford's tokenizer writes it."""
    if token in _WRITTEN:
        return _WRITTEN[token]
    if token[0] == "." or (token[0] == "-" and set(token) == {"-"} and len(token) < 5):
        return token if token[1:2].isdigit() else token[0]
    if _CURLY_ENDING.fullmatch(token):
        token = token.replace("’", "'")
    return "\xa0".join(token.translate(_ROUND_BRACKETS).lower().split())

"""The rules by which Stanford CoreNLP 3.4.1 cuts English text into tokens, in the notation of `text.longest_match`.

What they say was learnt from its PTBLexer (Stanford NLP, GPL), of which versions before and after 3.4.1 are public as
source, and from the program itself: its automaton and this one accept the same texts, with the same outcome
(`tests/golden/ptb_automaton.py`). They are written anew. Oddities are the program's own: `c#` is a token and `d#` two.

The name of a rule says how its token is written, see `ptb_tokenizer`. Of equally long matches the first rule's counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from diptych.text.longest_match import CharacterSet, Rule

# Letters and digits that Unicode got after its version 6.2, which the Java of 2014 knew; Cherokee had no case then.
_LATER = re.compile(
    "[\u037f\u0528-\u052f\u0560\u0588\u05ef\u0860-\u089f\u08a1\u08ad-\u08ff\u0978\u0980\u09fc\u0af9\u0c34\u0c5a-\u0c5d"
    "\u0c80\u0cdd\u0d04\u0d54-\u0d5f\u0de6-\u0def\u0e86\u0e89\u0e8c\u0e8e-\u0e93\u0e98\u0ea0\u0ea8\u0ea9\u0eac\u13f5"
    "\u13f8-\u13fd\u16f1-\u16f8\u170d\u171f\u1878\u191d\u191e\u19b0-\u19c0\u19c8\u19c9\u1b4c\u1c80-\u1cbf\u1cf2\u1cf3"
    "\u1cfa\u2c2f\u2c5f\u312e\u312f\u31bb-\u31bf\u4db6-\u4dbf\u9fcd-\u9fff\ua698-\ua69d\ua78f\ua794-\ua79f\ua7ab-\ua7f7"
    "\ua8fd\ua8fe\ua9e0-\ua9fe\uaa7e\uaa7f\uab30-\uabbf]"
)
# Combining signs and the like, which the rules count among the letters though Unicode does not.
_MARKS = re.compile(
    "[\u02c2-\u02c5\u02d2-\u02df\u02e5-\u02eb\u02ed\u02ef-\u036f\u0375\u0378\u0379\u0384\u0385\u03f6\u0483-\u0487"
    "\u055a-\u055f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0615-\u061a\u064b-\u065e\u0670\u06d6-\u06e4"
    "\u06e7-\u06ed\u06fd\u06fe\u070f\u0711\u0730-\u074c\u07a6-\u07b0\u07eb-\u07f3\u0900-\u0903\u093c\u093e-\u094e"
    "\u0951-\u0955\u0962\u0963\u0981-\u0983\u09bc\u09be-\u09c4\u09c7\u09c8\u09cb-\u09cd\u09d7\u09e2\u09e3\u0a01-\u0a03"
    "\u0a3c\u0a3e-\u0a4f\u0a81-\u0a83\u0abc\u0abe-\u0acf\u0b82\u0bbe-\u0bc2\u0bc6-\u0bc8\u0bca-\u0bcd\u0c01-\u0c03"
    "\u0c3e-\u0c56\u0d3e-\u0d44\u0d46-\u0d48\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd]"
)


def _is_letter(character: str) -> bool:
    return (character.isalpha() or character in "\u1885\u1886") and not _LATER.match(character)


def _is_capital(character: str) -> bool:
    return character.isupper() and not _LATER.match(character) and not "\u13a0" <= character <= "\u13f5"


def _is_digit(character: str) -> bool:
    return character.isdecimal() and not _LATER.match(character) and not "\ua9f0" <= character <= "\ua9f9"


_ADDRESS = r" \t\n\f\r\"<>|(){}"  # what ends an address
_MISCELLANEOUS = (
    r"[+%&~^|\\\u00a6-\u00a9\u00ac\u00ae-\u00ba\u00d7\u00f7\u0387\u05be\u05c0\u05c3\u05c6\u05f3\u05f4\u0600-\u0603"
    r"\u0606-\u060a\u060c\u0614\u061b\u061e\u066a\u066d\u0703-\u070d\u07f6-\u07f8\u0964\u0965\u0e4f\u1fbd\u2016\u2017"
    r"\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2044\u207a-\u207f\u208a-\u208e\u2100-\u214f\u2190-\u2bff\u3012"
    r"\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)

DEFINITIONS: Mapping[str, str | CharacterSet] = {
    # characters
    "unicode_letter": _is_letter,
    "capital": _is_capital,
    "unicode_digit": _is_digit,
    "mark": lambda character: _MARKS.match(character) is not None,
    "any": lambda character: True,
    "digit": "(<unicode_digit>)",
    "letter": r"(<unicode_letter>|<mark>|[\u00ad]|&[aeiouAEIOU](acute|grave|uml);)",
    "alphanumeric": "(<unicode_letter>|<digit>)",
    "ascii": "[A-Za-z0-9]",
    "space": r"[ \t\u00a0\u2000-\u200a\u3000]",
    "newline": r"([\r]|[\r]?[\n]|[\u000b\u000c\u0085\u2028\u2029])",
    "blank": "(<space>|<newline>)",
    "and": "&amp;",
    "apostrophe": r"(['\u0092\u2019]|&apos;)",
    "wide_apostrophe": r"(<apostrophe>|[`\u0091\u2018\u201b])",
    "double_quote": '("|&quot;)',
    "quotes": r"(<apostrophe>|''|[`\u0091-\u0094\u00ab\u00bb\u2018-\u201f\u2039\u203a]{1,2})",
    "inner_mark": r"[,;:\u3001]",
    # words
    "word": "<letter>(<letter>|<digit>)*([.!?]<letter>(<letter>|<digit>)*)*",
    "part": "([dDoOlL]<wide_apostrophe><alphanumeric>)?<alphanumeric>+",
    "compound": r"<part>([-_\u058a\u2010\u2011]<part>)*",
    "hyphenated": r"<ascii>[A-Za-z0-9.,\u00ad]*(-([A-Za-z0-9\u00ad]+|<initials>\.))+",
    "alternative": "<ascii>+(-[A-Za-z]+){0,2}",
    "alternatives": r"<alternative>(\\?/<alternative>){1,2}",
    "firm_with_and": "[A-Z]+(([+&]|<and>)[A-Z]+)+",
    "before_not": r"[A-Za-z\u00ad]*[A-MO-Za-mo-z][\u00ad]*",
    "not": "n<wide_apostrophe>t",
    "contracted": "<apostrophe>([msdMSD]|re|ve|ll)",
    "with_apostrophe": (
        "<apostrophe>(n<apostrophe>?|em|[2-9]0s|till?|cause)|([lLdDjJ]|Dunkin|somethin|ol)<apostrophe>"
        "|[A-HJ-XZn]<wide_apostrophe><unicode_letter>{2}<unicode_letter>*"
        "|<unicode_letter><unicode_letter>*[aeiouyAEIOUY]<wide_apostrophe>[aeiouA-Z]<unicode_letter>*"
        r"|cont'd\.?|'twas|nor'easter|c'mon|e'er|s'mores|ev'ry|li'l|nat'l|O<wide_apostrophe>o"
    ),
    "fixed": (
        r"-(RRB|LRB|RCB|LCB|RSB|LSB)-|C\.D\.s|pro-|anti-|S(&|<and>)P-500|S(&|<and>)Ls|Cap<apostrophe>n|c<apostrophe>est"
    ),
    # addresses
    "url": rf"https?://[^{_ADDRESS}]+[^ \t\n\f\r\"<>|.!?()\{{\}},-]",
    "path": r"/[^ \t\n\f\r\"<>|()]+[^ \t\n\f\r\"<>|.!?(){},-]",
    "likely_url": (
        r"(www\.([^ \t\n\f\r\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}"
        r"|([^ \t\n\f\r\"`'<>|.!?(){},-_$]+\.)+(com|net|org|edu))<path>?"
    ),
    "email": (rf"(&lt;|\<)?<ascii>[^{_ADDRESS}\u00a0]*@([^{_ADDRESS}.\u00a0]+\.)*[^{_ADDRESS}.\u00a0]+(&gt;|>)?"),
    "file": (
        r"(<letter>|<digit>)+(\.(<letter>|<digit>)+)*\.(bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java"
        "|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip)"
    ),
    "tag": (
        r"\<([!?][A-Za-z-][^>\r\n]*|/[A-Za-z]<tag_sign>* *"
        r"|[A-Za-z]<tag_sign>*( +[A-Za-z]<tag_sign>*( *= *(\"[^\"]*\"|'[^']*'))?)* *(/ *)?)>"
    ),
    "tag_sign": "[A-Za-z0-9_:.-]",
    # numbers
    "number": r"[-+]?(<digit>+|<digit>*([.:,\u00ad\u066b\u066c]<digit>+)+)",
    "fraction": r"(<digit>{1,4}[- \u00a0])?<digit>{1,4}(\\?/|[\u2044])<digit>{1,4}",
    "phone": (
        r"(\([0-9]{2,3}\)[ \u00a0]?|(\+\+?)?([0-9]{2,4}[- \u00a0])?[0-9]{2,4}[- \u00a0])[0-9]{3,4}[- \u00a0]?[0-9]{3,5}"
        r"|((\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
    ),
    # abbreviations: initials of two letters or more; those of one too; what may end a sentence; what a name follows
    "initials": r"([A-Za-z](\.[A-Za-z])+|(Canada|Sino|Korean|EU|Japan|non)-U\.S|U\.S\.-(U\.K|U\.S\.S\.R))",
    "any_initials": "([A-Za-z]|<initials>)",
    "shortened": (
        "(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tues?|Wed|Thu|Thurs|Fri"
        "|Ala|Ariz|[A]z|[A]rk|Calif|Colo|Conn|Ct|Dak|[D]el|Fla|Ga|[I]ll|Ind|Kans?|Ky|[L]a|[M]ass|Md|Mich|Minn|[M]iss"
        "|Mo|Mont|Neb|Nev|Okla|[O]re|[P]a|Penn|Tenn|[T]ex|Va|Vt|[W]ash|Wisc?|Wyo"
        "|Inc|Cos?|Corp|Pp?t[ey]s?|Ltd|Plc|Rt|Bancorp|Bhd|Assn|Univ|Intl|Sys"
        r"|Jr|Sr|Bros|(Ed|Ph)\.D|Blvd|Rd|Esq|tel|est|ext|sq|etc|al|seq|Bldg)\."
    ),
    "before_name": (
        "(<any_initials>|Mr|Mrs|Ms|[M]iss|Drs?|Profs?|Sens?|Reps?|Attys?|Lt|Col|Gen|Messrs|Govs?|Adm|Rev|Maj|Sgt|Cpl"
        "|Pvt|Mt|Capt|Ste?|Ave|Pres|Lieut|Hon|Brig|Co?mdr|Pfc|Sfc|Spc|Supts?|Det|Mlle|Mme|Msgr|Insp|Asst|Ens|Ft|Ph|Dept"
        r"|Adj|Adv|Assoc|vs|Alex|Wm|Jos|Cie|a\.k\.a|cf|TREAS|Invt|Elec|Natl|M[ft]g)"
    ),
    "before_number": r"(ca|figs?|prop|nos?|art|bldg|pp|op)\.",
    "starter": (  # capitals only: after initials and a full stop these begin a sentence
        "([A]|[A]bout|[A]ccording|[A]dditionally|[A]fter|[A]n|[A]s|[A]t|[B]ut|[E]arlier|[H]e|[H]er|[H]ere|[H]owever"
        r"|[I]f|[I]n|[I]t|[L]ast|[M]any|[M]ore|[M]r\.|[M]s\.|[N]ow|[O]nce|[O]ne|[O]ther|[O]ur|[S]he|[S]ince|[S]o"
        "|[S]ome|[S]uch|[T]hat|[T]he|[T]heir|[T]hen|[T]here|[T]hese|[T]hey|[T]his|[W]e|[W]hat|[W]hen|[W]hile|[Y]et"
        "|[Y]ou)"
    ),
    # signs
    "smiley": r"[\<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]",
    "asian_smiley": (  # the first is a slip of the program's authors
        r"[\^x=~<>]\.\[\^x=[^<]*\<>\]|[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>'`]\)"
    ),
}

RULES = (
    Rule("can", "as it is", "not"),
    Rule("gon|wan", "as it is", "na"),
    Rule("got", "as it is", "ta"),
    Rule("lem|gim", "as it is", "me"),
    Rule("'t", "as it is", "is|was"),
    Rule("<tag>", "with blanks"),
    Rule(r"&(MD|mdash|ndash);|[\u0096\u0097\u2013-\u2015]", "dash"),
    Rule("<and>", "with and"),
    Rule("&(HT|TL|UR|LR|QC|QL|QR|odq|cdq|#[0-9]+);", "as it is"),
    Rule("<word>", "word", "<contracted>"),
    Rule("<before_not>", "word", "<not>"),
    Rule("<word>", "word"),
    Rule("<with_apostrophe>", "as it is"),
    Rule("y<apostrophe>", "as it is", "<unicode_letter>"),
    Rule("<url>|<likely_url>|<email>", "as it is"),
    Rule("(C|F)#|C\\+\\+", "as it is"),
    Rule(r"(co|Pte|Pty)\.", "as it is", "<space>(lim|ltd)"),
    Rule("@[A-Za-z_][A-Za-z_0-9]*|#<letter>+", "as it is"),
    Rule("<contracted>|<not>", "closing quote", "[^A-Za-z]"),
    Rule("<not>", "closing quote"),
    Rule("<digit>{1,2}[-/]<digit>{1,2}[-/]<digit>{2,4}", "as it is"),
    Rule("<number>", "word"),
    Rule(r"[\u207a\u207b\u208a\u208b]?([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+|[\u2080-\u2089]+)", "as it is"),
    Rule("<fraction>", "with blanks"),
    Rule(r"[\u00bc-\u00be\u2153-\u215e]", "one sign"),
    Rule("<fixed>", "with and"),
    Rule("<alternatives>", "as it is"),
    Rule("[A-Z]*\\$|#", "as it is"),
    Rule(r"[\u0080\u00a2-\u00a5\u060b\u0e3f\u20a0\u20a4\u20ac\uffe0\uffe1\uffe5\uffe6]", "one sign"),
    Rule(r"<any_initials>\.", "end of sentence", "<blank>+(<starter>|<tag>)<blank>"),
    Rule("<shortened>", "end of sentence", "<blank>(<blank>|<capital>|<tag>)"),
    Rule("<before_number>", "as it is", "<blank>?<digit>"),
    Rule("<shortened>", "as it is", "<any><any>"),
    Rule("<shortened>", "end of sentence"),
    Rule(r"<before_name>\.", "as it is"),
    Rule("<before_name>", "as it is", "<space>"),
    Rule("<any_initials>", "as it is", "<blank>"),
    Rule("<apostrophe>[0-9][0-9]", "as it is", "<blank>"),
    Rule(r"<word>\.", "word", "<inner_mark>"),
    Rule("<phone>", "with round brackets"),
    Rule("<double_quote>", "opening quote", "[A-Za-z0-9$]"),
    Rule("<double_quote>", "closing quote"),
    Rule(r"[\u007f]", "nothing"),
    Rule(r"\<|>|&lt;|&gt;", "one sign"),
    Rule("<smiley>", "with round brackets", "[^A-Za-z0-9]"),
    Rule("<asian_smiley>", "with round brackets"),
    Rule("<file>", "as it is", "<blank>|[.?!,]"),
    Rule(r"\{|\}|\[|\]|\(|\)", "one sign"),
    Rule("-+", "hyphens"),
    Rule(r"\.{3,5}|(\.[ \u00a0]){2,4}\.|[\u0085\u2026]", "ellipsis"),
    Rule(r"@+|#+|_+|\*+|(\\\*){1,3}|<inner_mark>|[?!]+|=|/", "as it is"),
    Rule(r"[.\u00a1\u00bf\u037e\u0589\u061f\u06d4\u0700-\u0702\u07fa\u3002]", "as it is"),
    Rule(r"<hyphenated>\.", "word", "<inner_mark>"),
    Rule("<hyphenated>", "word"),
    Rule(r"<compound>\.", "as it is", "<inner_mark>"),
    Rule("<compound>", "as it is"),
    Rule(r"<firm_with_and>\.", "with and", "<inner_mark>"),
    Rule("<firm_with_and>", "with and"),
    Rule("'", "opening quote", r"[A-Za-z][^ \t\n\r\u00a0]"),
    Rule("<contracted>|<quotes>", "closing quote"),
    Rule(r"\<\<|>>", "as it is"),
    Rule(_MISCELLANEOUS, "as it is"),
    Rule(r"<space>+|[\u0000\u200b\u200e\u200f\ufeff]|&nbsp;", "nothing"),
    Rule("<newline>", "nothing"),
    Rule(r"[^\n\r\u000b\u000c\u0085\u2028\u2029]", "nothing"),  # a sign that the program does not know
)

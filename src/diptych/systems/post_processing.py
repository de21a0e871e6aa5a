"""Steps that the published system applies to finished captions, each for itself: none is taken unless asked for.

Whoever takes one reports its metrics beside those without it: a step that cuts captions moves CIDEr by itself.
"""

from __future__ import annotations

import re
from itertools import pairwise

_CUE = re.compile(r"^[ \t]*your caption\b[^:\n]*:", re.IGNORECASE | re.MULTILINE)
_ROLE = "user"
PUBLISHED_MAX_WORDS = 106
PUBLISHED_NUM_BIGRAMS = 2


def repair_prompt_echo(caption: str) -> str:
    """What follows the prompt's answer cue, where a caption begins with the prompt itself (the role name `user`).

    The published step puts a fixed sentence where there is no cue; here such a caption stays as it is.
    """
    cue = _CUE.search(caption) if caption.startswith(_ROLE) else None
    return caption[cue.end() :].strip() if cue else caption


def append_base_caption_words(caption: str, base_caption: str) -> str:
    """The caption with the base caption's first two word pairs that it lacks, cut at 106 words.

    Whether it has them is asked of the text, ignoring case. As published, the end of what is cut is " . ", and a
    caption of 106 words or more loses again what was appended: of those the step is only a truncation.
    """
    words = base_caption.split()
    bigrams = [f"{first} {second}" for first, second in pairwise(words)]
    lacking = [bigram for bigram in bigrams if bigram.lower() not in caption.lower()][:PUBLISHED_NUM_BIGRAMS]
    longer = f"{caption}. {'; '.join(lacking)}" if lacking else caption
    kept = longer.split()[:PUBLISHED_MAX_WORDS]
    return f"{' '.join(kept)} . " if len(longer.split()) > PUBLISHED_MAX_WORDS else longer

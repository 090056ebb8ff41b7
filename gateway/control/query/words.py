"""Full text: what a caller typed as words that no database can take for an operator.

Words are runs of letters and digits, in any case. All have to be there; what stands in quotes, or is joined by
punctuation (`foo-bar`), has to be there in this order.
"""

import re

_MOST = 32  # words of one search
_PARTS = re.compile(r'"([^"]*)"|([^\s"]+)')
_WORDS = re.compile(r"[^\W_]+")

Phrase = tuple[str, ...]


def parse_text(text: str) -> tuple[Phrase, ...]:
    """The phrases of a search. Raises ValueError where there is no word in it, or too many."""
    found = [tuple(_WORDS.findall(quoted or plain)) for quoted, plain in _PARTS.findall(text)]
    phrases = tuple(phrase for phrase in found if phrase)
    if not phrases:
        raise ValueError("there is no word in it to search for")
    if sum(map(len, phrases)) > _MOST:
        raise ValueError(f"a search has at most {_MOST} words")
    return phrases

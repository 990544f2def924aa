"""What a caption says in passing, in phrases that can be said again: eye colour, clothing, what lies behind.

Patterns are conservative: a phrase is taken with the few adjectives that stand directly before its noun.
"""

from __future__ import annotations

import re
from functools import lru_cache

GARMENTS = (
    "suit|jacket|shirt|t-shirt|blouse|collar|tie|bow tie|sweater|jumper|pullover|cardigan|coat|dress|gown|top|vest|"
    "scarf|shawl|hoodie|uniform|robe|turtleneck|polo|sari|bib|apron|tunic|kimono|blazer|necktie|straps?|clothing|"
    "clothes|garment|neckline|sweatshirt|waistcoat|lapels?|cloth|wrap|overalls|romper|onesie|outfit"
)
BACKDROPS = (
    "background|backdrop|wall|curtains?|greenery|foliage|sky|room|interior|surroundings|leaves|trees|grass|water|sea|"
    "street|building|bricks?|shelves|garden|darkness|blackness|surface|blanket|scene"
)
# Words at which a noun phrase begins anew, going backwards.
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "in",
        "on",
        "with",
        "over",
        "behind",
        "against",
        "before",
        "under",
        "above",
        "at",
        "to",
        "from",
        "by",
        "his",
        "her",
        "their",
        "its",
        "is",
        "are",
        "was",
        "shows",
        "show",
        "lies",
        "lie",
        "fills",
        "fill",
        "covers",
        "cover",
        "surrounds",
        "surround",
        "stands",
        "stand",
        "sits",
        "sit",
        "hangs",
        "hang",
        "wears",
        "wear",
        "wearing",
        "sets",
        "set",
        "makes",
        "make",
        "forms",
        "form",
        "appears",
        "appear",
        "rests",
        "rest",
        "closes",
        "close",
        "ends",
        "end",
        "peeks",
        "meets",
        "meet",
        "blends",
        "into",
        "onto",
        "near",
        "beside",
        "below",
        "beneath",
        "around",
        "across",
        "through",
        "while",
        "as",
        "but",
        "for",
        "plus",
        "that",
        "this",
        "each",
        "one",
        "both",
        "some",
        "any",
        "only",
        "about",
        "between",
        "has",
        "have",
        "had",
        "mark",
        "marks",
        "shelter",
        "there",
        "who",
        "which",
        "whose",
        "than",
        "like",
        "against",
        "frames",
        "frame",
        "backs",
        "back",
        "blurs",
        "drops",
        "glows",
        "glow",
        "complete",
        "completes",
        "suggest",
        "suggests",
        "fade",
        "fades",
        "dissolve",
        "dissolves",
        "along",
        "up",
        "out",
        "off",
        "not",
        "no",
        "visible",
        "seen",
        "dressed",
    ]
)
_WORD = r"[a-z][a-z'-]*"
_EYES = re.compile(
    rf"\b((?:{_WORD},? ){{0,3}})(blue|brown|green|hazel|grey|gray|amber|dark|black)((?:-{_WORD})?)(?: {_WORD})? eyes\b"
)
_COLOURS = [
    "black",
    "white",
    "grey",
    "gray",
    "blue",
    "navy",
    "red",
    "green",
    "yellow",
    "orange",
    "purple",
    "pink",
    "brown",
    "beige",
    "cream",
    "tan",
    "khaki",
    "violet",
    "maroon",
    "teal",
    "turquoise",
    "lilac",
    "mauve",
    "gold",
    "golden",
    "silver",
    "olive",
    "burgundy",
    "peach",
    "ivory",
    "crimson",
    "scarlet",
    "coral",
    "charcoal",
    "lavender",
    "dark",
    "light",
    "pale",
]
COLOUR = re.compile(rf"\b({'|'.join(_COLOURS)})\b")
_PATTERNED = re.compile(
    r"\b(?:striped|checked|patterned|plaid|denim|knitted|collared|floral|spotted|dotted|leather|formal|woollen)\b"
)
_EYE_GROUPS = {"gray": "grey", "black": "dark", "amber": "brown"}


def _phrases(text: str, nouns: str) -> list[str]:
    """Noun phrases whose last word is one of `nouns`, with at most three words before it."""
    found = []
    for match in re.finditer(rf"\b(?:{nouns})\b", text):
        before = text[: match.start()].split()
        words: list[str] = []
        for word in reversed(before):
            plain = word.lower()
            if plain.rstrip(",;.") in _STOP or plain.endswith((",", ";", ".", ":")) or len(words) == 3:
                break
            if not re.fullmatch(_WORD, plain):
                break
            words.insert(0, plain)
        found.append(" ".join([*words, match.group(0)]))
    return found


@lru_cache(maxsize=4096)
def clothing(caption: str) -> str | None:
    """The first garment with its adjectives: "dark suit"; None where none is told with a word before it."""
    found = [p for p in _phrases(caption.lower(), GARMENTS) if " " in p and (COLOUR.search(p) or _PATTERNED.search(p))]
    found = [p for p in found if not re.search(r"hair|beard|lips|skin|blur|eyes", p)]
    return found[0] if found else None


def garments(caption: str) -> list[str]:
    """Every garment, with its adjectives."""
    return _phrases(caption, GARMENTS)


@lru_cache(maxsize=4096)
def backdrop(caption: str) -> str | None:
    """What lies behind, with its adjectives: "pale green wall"; the last one that is told so."""
    found = [p for p in _phrases(caption, BACKDROPS) if " " in p]
    return found[-1] if found else None


@lru_cache(maxsize=4096)
def eye_colour(text: str) -> str | None:
    """blue, brown, green, hazel, grey or dark; None where the text does not say."""
    match = _EYES.search(text.lower())
    if match is None:
        return None
    return _EYE_GROUPS.get(match.group(2), match.group(2))


_MALE = re.compile(r"\b(?:man|boy|gentleman|he|his|him|grandfather|grandfatherly)\b", re.IGNORECASE)
_FEMALE = re.compile(r"\b(?:woman|girl|lady|she|her|grandmother|grandmotherly)\b", re.IGNORECASE)


@lru_cache(maxsize=4096)
def gender(text: str) -> str | None:
    """ "Male" or "Female", None where the caption says neither or both."""
    male, female = bool(_MALE.search(text)), bool(_FEMALE.search(text))
    return None if male == female else "Male" if male else "Female"


def mentions(caption: str, pattern: str) -> bool:
    """Whether whole words of the caption match."""
    return re.search(rf"\b(?:{pattern})\b", caption, re.IGNORECASE) is not None


_PERSONS = (
    r"(?:man|woman|boy|girl|baby|toddler|child|infant|person|adult|teenager|lady|gentleman|youth|face|portrait|photo"
    r"|picture|snapshot|view|smile|grin)"
)
_BARE_NOUN = re.compile(
    rf"^(?!(?:A|An|The|His|Her|Their|In|With|Under|Behind|Against)\b)(?:[\w'-]+,? ){{0,6}}?{_PERSONS}\b"
)
_TAKES_NONE = re.compile(
    r"\b(?:a|an|the|this|that|of|his|her|its|in|on|under|over|with|from|by|to|for|and a|is|are|make|makes|mark"
    r"|marks|give|"
    r"gives|frame|frames)\b"
)


def with_article(text: str) -> str:
    """A caption that begins with a bare noun phrase ("Cheerful toddler in...") gets its article."""
    match = _BARE_NOUN.match(text)
    if match is None:
        return text
    head = match.group(0)
    if _TAKES_NONE.search(head.lower()) or (head.split()[0].rstrip(",").endswith(("ing", "ed")) and "," in head):
        return text
    first = head.split()[0].lower()
    an = re.match(r"[aeio]|un(?!i)|u[^ns]", first) is not None
    return f"{'An' if an else 'A'} {text[:1].lower()}{text[1:]}"


@lru_cache(maxsize=4096)
def feature(text: str, nouns: str) -> str | None:
    """The first phrase of a facial feature with its adjectives: "large dark eyes", "warm tan skin"."""
    found = [p for p in _phrases(text.lower(), nouns) if " " in p]
    bad = ("closed", "shut", "parted", "closing", "visible", "left", "right", "screwed", "averted", "lowered")
    found = [p for p in found if not set(p.split()) & set(bad) and not re.search(r"\b\w+(?:ing|s) (?:\w+ )?\w+$", p)]
    return found[0] if found else None

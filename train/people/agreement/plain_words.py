"""Ages and poses in the few words that people write ("about 30", "turned to the left").

`facellm.claims` reads whole sentences of a model and wants a unit or the viewer named; people name neither. A side
is the viewer's unless it is said to be the person's own.
"""

from __future__ import annotations

import re

from facellm.labels import POSES

ABOUT = 2  # years either side that "about 30" allows
OLDEST = 110
_UNITS = (
    r"(?!\s*(?:%|per ?cent|percent|degrees?|deg\b|°|cm|mm|m\b|px|pixels?|people|persons?|faces?|images?|hairs?|times|"
    r"minutes?|seconds?|hours?|o'clock|stars?|points?|out of|[.,:/]\d|\d))"
)
_ROUGH = (
    r"(?:about|around|approximately|approx\.?|roughly|circa|ca\.?|~|some|maybe|perhaps|probably|nearly|almost|aged?"
    r"|age:)"
)
_SPAN = re.compile(
    rf"\b(?:between\s+|from\s+|aged?\s+|{_ROUGH}\s*)?(\d{{1,3}})\s*(?:-|\u2013|to|and|or)\s*(\d{{1,3}})\b{_UNITS}", re.I
)
_NEAR = re.compile(rf"(?:(?<!\w){_ROUGH})\s*(\d{{1,3}})\b(?!['\u2019]?s\b){_UNITS}", re.I)
_BARE = re.compile(r"\W*(\d{1,3})(?:\s*(?:years?|yrs?|y/?o))?(?:\s*old)?\W*", re.I)
_YEARS = re.compile(r"\b(\d{1,3})\s*(?:years?|yrs?|y/?o)\b", re.I)
_TENS = re.compile(r"\b(?:(early|mid|late)[- ]?)?([1-9]0)['\u2019]?s\b", re.I)
_PARTS = {"early": (0, 4), "mid": (3, 7), "late": (6, 9)}
_NO_CLAIM = re.compile(r"\b(?:not|no|never|nor|slightly|nearly|almost|either|whether|barely|hardly|if)\b|n't\b", re.I)
_TURN = (
    r"(?:(?:turn(?:ed|s|ing)?|look(?:s|ed|ing)?|fac(?:es|ed|ing)|rotated|angled|point(?:s|ed|ing)?|head(?:ing)?|profile|view)"
    r"\W+(?:(?:away|mostly|clearly|strongly|far|well|a bit|fully|is|face|head|over|off)\W+)*)"
)
_SIDE = re.compile(
    rf"\b{_TURN}(?:(?:to|towards?|at|on|in|from)\s+)?(?:(?P<own>(?:his|her|their|its|the\s+person['\u2019]s)(?:\s+own)?)\s+|"
    r"(?:the|my|our|your|the\s+viewer['\u2019]s|the\s+image['\u2019]s)\s+)?(?P<side>left|right)\b",
    re.I,
)
_FRONT = re.compile(
    r"\b(?:frontal|front view|straight (?:on|ahead|at|into)|(?:fac|look)(?:es|s|ing) (?:straight|forwards?|front"
    r"|(?:at |towards? |into )?(?:the |me|us|you)(?:camera|viewer|lens)?)|en face)\b",
    re.I,
)
_CLAUSES = re.compile(r"[.;,!?\n]+|\bbut\b|\band\b", re.I)


def age(text: str) -> tuple[int, int] | None:
    """Returns the range of years that a short answer names, the narrowest; None where it names none."""
    spans = [(int(low), int(high)) for low, high in _SPAN.findall(text)]
    rest = _SPAN.sub(" ", text)
    spans += [(int(years) - ABOUT, int(years) + ABOUT) for years in _NEAR.findall(rest)]
    spans += [(int(years), int(years)) for years in _YEARS.findall(_NEAR.sub(" ", rest))]
    for part, tens in _TENS.findall(rest):
        low, high = _PARTS.get(part.lower(), (0, 9))
        spans.append((int(tens) + low, int(tens) + high))
    if bare := _BARE.fullmatch(text):
        spans.append((int(bare[1]), int(bare[1])))
    good = [(max(0, low), high) for low, high in spans if low <= high <= OLDEST]
    return min(good, key=lambda span: span[1] - span[0]) if good else None


def pose(text: str) -> str | None:
    """Returns the head pose that an answer names, of `POSES`; None where it names none, two, or only weighs one."""
    named = set()
    for clause in _CLAUSES.split(text):
        if _NO_CLAIM.search(clause):
            continue
        sides = list(_SIDE.finditer(clause))
        for found in sides:
            left = (found["side"].lower() == "left") is not bool(found["own"])
            named.add(POSES[1] if left else POSES[2])
        if not sides and _FRONT.search(clause):
            named.add(POSES[0])
    return named.pop() if len(named) == 1 else None

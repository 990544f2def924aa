"""What an answer says: yes or no, which values of which facts it asserts and denies, an age, whether it evades.

A text is read clause by clause. A denial ("no", "not", "without", "isn't") reaches the words behind it in its clause,
over a comma only where "or" goes on with it; what stands before "is not visible" or "are absent" is denied, too. In a
clause that only weighs something ("I can't tell whether", "it is unclear if") nothing is asserted. Unusual wordings
are missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from facellm import claims as labelled
from train.seen.claims.patterns.table import FACTS, GATES, NOUNS, OWN_NOUNS

_MODAL = (
    r"(?:(?:probably|most likely|likely|i think|i believe|i would say|i'd say|as far as [^,.;]{1,30},?|well|hm+),? )?"
)
_YES = re.compile(
    rf"^\W*{_MODAL}(?:yes|it (?:looks|seems|appears) (?:so|like it)|yeah|yep|yup|correct|right|indeed|certainly"
    rf"|sure|absolutely|definitely|true|of course|affirmative|it does|"
    r"(?:s?he|they|it) (?:does|is|are|do|has)(?:,| indeed)? ?(?:yes)?(?=[.,!]|$))(?=\W|$)",
    re.I,
)
_NO = re.compile(
    rf"^\W*{_MODAL}(?:nope|nah|it (?:does not|doesn't) (?:look|seem|appear) (?:so|like it)|negative|incorrect"
    rf"|false|not (?:really|at all|noticeably|especially|that i can see|visibly|quite|to me|exactly|a real"
    r"|particularly|obviously|much)|none(?! of)|neither|never|no(?=\W*$|\s*[.,;:!–—-]|\s+(?:s?he|they|it|there"
    r"|this|that|the|his|her|their|i"
    r"|you|we|one|these|those|nothing|it's|he's|she's|they're|i'm|he|only|just|both)\b)"
    r"|(?:s?he|they|it|there) (?:does|is|are|do|has|have)(?:n't| not)(?=[.,!]|$)|probably not|i don't think so"
    r"|not)(?=\W|$)",
    re.I,
)
_LAST = re.compile(r",\s+(yes|no)\W*$", re.I)  # "She does have freckles, yes."
_NOT_NO = re.compile(r"^\W*(?:no doubt|no question|no problem|not only|not just|none of)", re.I)
# A determiner: "No glasses are visible" denies by itself what it names, "No smile and no frown" likewise.
_DENIAL = re.compile(
    r"\b(?:no|not|never|without|neither|nor|none|nothing|nowhere|cannot|hardly(?! any hair)|lacks?|lacking|free "
    r"(?:of|from)|absence of|devoid of|rather than|"
    r"instead of|no (?:sign|trace|hint|evidence)s? of|nobody)\b|\w+n't\b|\bcant\b|\bdont\b|\bisnt\b|\bdoesnt\b",
    re.I,
)
_NO_DENIAL = re.compile(
    r"\b(?:not only|not just|no doubt|no more|nothing more|no longer than|no older than|not (?:much|that) "
    r"(?:older|younger)|neither"
    r"(?= (?:thick|thin|full|broad|narrow|really|very))|hardly changes|not turned|no (?:clear |strong "
    r"|particular )?(?:emotion|expression)"
    r"|without (?:a )?(?:clear |strong )?(?:emotion|expression)|not(?= in the)|is not covered|no hair(?: "
    r"colou?r)?|with no hair|no colou?r"
    r"|without colou?r|lacks? colou?r|lacks? (?:fine )?(?:detail|sharpness)|lack of sharpness|(?:no|without"
    r"|free of)(?: visible| any| deep)* (?:lines|wrinkles)"
    r"|wears nothing|free of (?:any )?hair|no one else|nobody else"
    r"|neither side|not more than one|not other|no other|can't help|no deep)",
    re.I,
)
_AFTER = re.compile(
    r"^(?:\W+\w+){0,3}?\W+(?:(?:is|are|was|were|can|could|do|does|has|have)(?: not|n't)|cannot|can't|(?:is|are) "
    r"(?:absent|missing|nowhere|hidden from)"
    r"|absent|not (?:visible|present|seen|there|shown|worn|showing|showing up|apparent))",
    re.I,
)
_WEIGHED = re.compile(
    r"\b(?:whether|if (?:s?he|they|it|the|this|there)|not (?:sure|clear|certain|possible|known|enough)|unclear"
    r"|unsure|uncertain|impossible"
    r"|(?:hard|difficult|tough) to (?:say|tell|see|judge|determine|know|make out)|(?:can't|cannot|can not"
    r"|couldn't|unable to|not able to|cant)"
    r" (?:\w+ )?(?:tell|say|determine|judge|know|identify|answer|be (?:told|determined|judged|known|said"
    r"|answered|decided|checked))"
    r"|(?:don't|do not|dont) know|no way to|no idea|depends|too (?:soft|blurred|blurry|dark|small|low|far) to)\b",
    re.I,
)
EVASIVE = re.compile(
    _WEIGHED.pattern
    + r"|\b(?:(?:can't|cannot|can not|couldn't|cant) (?:\w+ )?(?:see|be seen|make out|be made out|provide|assist"
    r"|help|describe|comment|recognise|recognize|read|rate|be rated)"
    r"|not (?:visible|shown|in the (?:picture|photo|image)|given|specified|mentioned|available)|i(?:'m| am) "
    r"(?:sorry|afraid|only an?|just an?|an ai|a language|unable)"
    r"|as an ai|as a language model|nobody can|no one can|not (?:something|a thing)|too (?:blurred|dark|small"
    r"|little) to|hidden|cannot be|can't be"
    r"|don't (?:identify|recogni[sz]e|judge|rate|give marks|read minds|show)|do not (?:identify|judge|rate)"
    r"|doesn't (?:show|tell|say|carry|reveal)|does not (?:show|tell|say|carry|reveal)"
    r"|says? nothing|tells? nothing|nothing (?:reliable|in a face)|not (?:a|my) (?:detector|job)|would rather "
    r"not|i'd rather not|matter of taste|eye of the beholder"
    r"|is no diagnosis|are not character|one moment|guess would be unfair|for you to decide|not settle|not "
    r"point to|fit several|(?:is|are) covered|too little|hardly any hair to)\b",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE = re.compile(
    r"\s*;\s*|\s*[–—]\s*|\s+-\s+|:\s+|,?\s+\b(?:but|although|though|while|whereas|however|because|since|yet)\b\s*"
    r"|,\s+(?:and\s+|so\s+)?(?=(?:s?he|they|it|there|the|this|that|his|her|their|its|with|which|just|only|i|you"
    r"|we|who|both|these|those)\b)"
    r"|\s+and\s+(?=(?:s?he|they|it|there|the|his|her|their|its|has|have|wears?|is|are|looks?|shows?|no|an?|some"
    r"|with)\b)",
    re.I,
)
_LEAD = re.compile(r"^\W*(?:yes|yeah|yep|no|nope|nah|correct|indeed|none)\b\s*[,.;:!–—-]*\s*", re.I)
_AGED = re.compile(
    r"\b(?:about|around|roughly|approximately|maybe|perhaps|probably|at|of|is|looks?|age[d:]?|say|guess|seems?"
    r"|be|around|near(?:ly)?|over|some) "
    r"(?:to be |is |about |around |roughly )*(\d{1,3})(?:['’]?s)?"
    r"(?=\W*$|\s*(?:years?|yrs?|or|and|to|but|at|though|because|since|judging|with|as|[.,;:)!?]|-))",
    re.I,
)


@dataclass(frozen=True)
class Reading:
    """lead: yes or no said first.  asserted, denied, weighed: fact -> values.  age: years, a range.  evades: it says
    that it cannot or will not answer."""

    lead: bool | None
    asserted: dict[str, set[str]] = field(default_factory=dict)
    denied: dict[str, set[str]] = field(default_factory=dict)
    weighed: dict[str, set[str]] = field(default_factory=dict)
    age: tuple[float, float] | None = None
    evades: bool = False

    def says(self, fact: str) -> set[str]:
        return self.asserted.get(fact, set())

    def denies(self, fact: str) -> set[str]:
        return self.denied.get(fact, set())

    @property
    def facts(self) -> set[str]:
        return {fact for fact, values in self.asserted.items() if values}


def plain(text: str) -> str:
    """Straight apostrophes, single spaces."""
    return re.sub(r"[ \t]+", " ", text.replace("\u2019", "'").replace("\u2018", "'").strip())


def lead_of(text: str) -> bool | None:
    """True or False where the answer begins with yes or no in any usual form."""
    text = plain(text)
    if _NOT_NO.match(text):
        return None
    if _NO.match(text):
        return False
    if _YES.match(text):
        return True
    last = _LAST.search(text)
    return None if last is None else last[1].lower() == "yes"


def sentences(text: str) -> list[str]:
    """The text's sentences, empty ones left out."""
    return [sentence for sentence in _SENTENCE.split(text.strip()) if sentence]


def clauses(text: str) -> Iterator[str]:
    """The text's clauses in their order."""
    for sentence in sentences(text):
        for clause in _CLAUSE.split(sentence):
            if clause and clause.strip(" ,."):
                yield clause


def read(text: str, about: str | None = None) -> Reading:
    """What the text says. about: the fact that was asked about; single words are then read as its values."""
    text = plain(text)
    found: dict[str, dict[str, set[str]]] = {"asserted": {}, "denied": {}, "weighed": {}}
    # "No glasses": the leading word is a determiner and stays.
    body = text if re.match(r"^\W*no \w", text, re.I) and not _NO.match(text) else _LEAD.sub("", text, count=1)
    for clause in clauses(body):
        _read_clause(clause, about, found)
    _settle(found)
    return Reading(
        lead_of(text), found["asserted"], found["denied"], found["weighed"], age_of(text), bool(EVASIVE.search(text))
    )


def _read_clause(clause: str, about: str | None, found: dict[str, dict[str, set[str]]]) -> None:
    weighed = bool(_WEIGHED.search(clause))
    loosely = about is not None and not _names_another(clause, about)
    spared = [match.span() for match in _NO_DENIAL.finditer(clause)]
    denials = [match for match in _DENIAL.finditer(clause) if not any(a <= match.start() < b for a, b in spared)]
    for fact, values in FACTS.items():
        if fact != about and fact in GATES and not GATES[fact].search(clause):
            continue
        taken: list[tuple[int, int]] = []
        for name, value in values.items():
            for pattern in (value.strict, value.loose if loosely and fact == about else None):
                for match in pattern.finditer(clause) if pattern else ():
                    if any(a <= match.start() and match.end() <= b and (a, b) != match.span() for a, b in taken):
                        continue
                    taken.append(match.span())
                    kind = "weighed" if weighed else "denied" if _is_denied(clause, match, denials) else "asserted"
                    if kind == "denied" and value.presence:
                        found["asserted"].setdefault(fact, set()).add("none")
                    found[kind].setdefault(fact, set()).add(name)


def _names_another(clause: str, about: str) -> bool:
    """Whether the clause speaks of something else than what was asked about."""
    own = OWN_NOUNS.get(about, ())
    clause = re.sub(r"\bas far as .*|\bin this (?:picture|photo|image)\b", "", clause, flags=re.IGNORECASE)
    return any(
        noun not in own and re.search(rf"\b(?:{pattern})\b", clause, re.IGNORECASE) for noun, pattern in NOUNS.items()
    )


def _is_denied(clause: str, match: re.Match[str], denials: list[re.Match[str]]) -> bool:
    """Whether a denial before the match reaches it, or one behind it speaks of it."""
    for denial in denials:
        if denial.start() >= match.start():
            if match.start() < denial.start() < match.end():
                return True  # inside: "hair that is not short"; at its start the pattern is a denial itself
            continue
        between = clause[denial.end() : match.start()]
        if "," in between and not re.search(r"\b(?:or|nor)\b", clause[denial.end() :]):
            continue
        if re.search(r"\b(?:and|but)\b(?! no\b)", between) and not re.search(r"\b(?:or|nor)\b", between):
            continue
        return True
    return bool(_AFTER.match(clause[match.end() :])) and not re.search(r"\bnot only\b", clause)


def _settle(found: dict[str, dict[str, set[str]]]) -> None:
    """A value that is both asserted and denied stays asserted; presence beats "none" where another value is
    asserted."""
    for fact, values in found["denied"].items():
        values -= found["asserted"].get(fact, set())
    hair = found["asserted"].get("facial_hair", set())
    if "goatee" in hair:
        hair.discard("beard")
    gone = found["denied"].get("facial_hair", set())
    if gone >= {"beard", "moustache"} and not hair & {"goatee", "moustache", "stubble", "beard", "some"}:
        found["asserted"].setdefault("facial_hair", set()).add("none")
    skin = found["asserted"].get("skin", set())
    if "lines" in skin:
        skin -= {"wrinkled", "smooth"}
    if "smooth" in skin and "wrinkled" in found["denied"].get("skin", set()):
        skin.discard("wrinkled")
    teeth = found["asserted"].get("teeth", set())
    if "none" in teeth:
        teeth.discard("none")
        teeth.add("no")


def age_of(text: str) -> tuple[float, float] | None:
    """The range of years that the text names, the narrowest; None where it names none."""
    text = _spelled(plain(text))
    ranges: list[tuple[float, float]] = []
    for match in re.finditer(r"\b(\d{1,3})\s*(?:-|–|to|and|or)\s*(\d{1,3})\b(?!\s*(?:people|faces|%))", text):
        low, high = int(match[1]), int(match[2])
        if low <= high <= 120:
            ranges.append((low, high))
    if not ranges:
        for match in re.finditer(r"\b(\d{1,3})[- ]year", text):
            ranges.append((int(match[1]), int(match[1])))
        for match in _AGED.finditer(text):
            if int(match[1]) <= 110:
                ranges.append((int(match[1]), int(match[1])))
        if alone := re.fullmatch(r"\W*(?:age:? )?(?:about |around )?(\d{1,3})\W*", text, re.I):
            ranges.append((int(alone[1]), int(alone[1])))
    for match in re.finditer(
        r"\b(?:(early|mid|middle|late)(?:[- ]to[- ](?:mid|late))?[- ])?(?:(\d)0['’]?s|(twenties|thirties"
        r"|forties|fifties|sixties|seventies|eighties|nineties))\b",
        text,
        re.I,
    ):
        ten = 10 * int(match[2]) if match[2] else _DECADES[match[3].lower()]
        low, high = {"early": (0, 3), "mid": (3, 7), "middle": (3, 7), "late": (6, 9)}.get(
            (match[1] or "").lower(), (0, 9)
        )
        ranges.append((ten + low, ten + high))
    if not ranges:
        ranges = [(low, high) for pattern, low, high in _STAGES if re.search(rf"\b(?:{pattern})\b", text, re.I)]
    return min(ranges, key=lambda r: r[1] - r[0]) if ranges else None


_DECADES = {
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
}
_STAGES = (
    (r"bab(?:y|ies)|infant|newborn", 0, 2),
    (r"toddler", 1, 4),
    (r"(?:little|small|young) (?:boy|girl|child)", 2, 10),
    (r"child|kid", 2, 12),
    (r"teen(?:age[rd]?|s)|adolescent", 13, 19),
    (r"young (?:man|woman|adult|person|lady)", 18, 33),
    (r"middle[- ]age[d]?", 40, 60),
    (r"(?:older|old|senior) (?:man|woman|person|lady|adult|gentleman)|elderly|senior", 60, 110),
)
_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = {
    w: 10 * n for n, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
}
_SPELLED = re.compile(
    rf"\b(?:({'|'.join(_TENS)})(?:[- ]({'|'.join(_UNITS[1:10])}))?|({'|'.join(_UNITS[1:])}))\b(?! (?:person"
    rf"|people|face|side|of|or two|sentence))",
    re.I,
)


def _spelled(text: str) -> str:
    """Numbers in words as digits."""

    def number(match: re.Match[str]) -> str:
        if match[1]:
            return str(_TENS[match[1].lower()] + (_UNITS.index(match[2].lower()) if match[2] else 0))
        return str(_UNITS.index(match[3].lower()))

    text = re.sub(r"\b(?:a|one) year\b", "1 year", text, flags=re.I)
    return _SPELLED.sub(number, text)


def ethnicities(text: str) -> set[str]:
    """Ethnic groups that the text names; colours of hair, clothes and pictures are none."""
    from train.seen.claims.patterns.table import ETHNIC_MORE

    found = {
        name
        for name, pattern in labelled.LABELLED["ethnicity"].items()
        if re.search(rf"(?<![\w-]){pattern}(?![\w-])", plain(text), re.IGNORECASE)
    }
    return found | ({"named"} if ETHNIC_MORE.search(plain(text)) else set())

"""What a text claims about a face: gender, age, ethnicity, expression, pose, mouth, eyes, light, shapes, traits.

Also finds what is wrong with a text by itself: two values of one fact, repeated sentences. Labels, images and models
are not its business.

Patterns are whole words in any case. A clause that hedges ("could be", "not clear", "White or Asian would both fit")
makes no claim but for the words that carry gender anyway (man, she) and a mouth "slightly open", and what a denial
reaches ("not smiling", "no sign of anger or fear") is none either. Unusual wordings are missed, so what is found is a
lower bound.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

from facellm.labels import POSES

# Any words on the way from a subject to what is said of it, but for a denial ("the light is not bright").
_ON = r"\b(?:(?!\b(?:no|not|nor|never|without)\b|n't\b)[^.])*\b"
_TURNED = rf"(?:turned|turn|angled|rotated|facing){_ON}viewer's"
_PICTURE = r"(?:image|picture|photo|photograph)"
# "Black" and "white" are colours of hair, clothes and pictures, too: they name a group before a person's noun, behind
# "ethnicity is" or "the person looks", or as the whole answer.
_PERSON = (
    r"(?:(?:wo)?m[ae]n|boys?|girls?|(?:fe)?males?|lady|gentlem[ae]n|persons?|people|individuals?|adults?|teenagers?|child"
    r"|children|baby|infant|toddler)"
)
_AGED = r"(?:young|younger|old|older|elderly|middle-aged|adult|teenage|little|baby)"
_SAID = (
    r"(?:is|are|be|looks?|appears?|seems?|suggests?|to|as|of|most|likely|probably|possibly|perhaps|apparently|clearly"
    r"|primarily|predominantly|best|described|perceived|identified|listed|stated|known)"
)
_MIX = r"(?:white|black|asian|indian|and|or|both|an?|mix|mixed|mixture)"


def _group(colour: str) -> str:
    """Where the colour's name is that of a group of people."""
    return (
        rf"(?:{colour}(?=(?:\s+{_AGED})*\s+(?:{_PERSON}|ethnic\w*|race|descent|origin|heritage|ancestry)(?![\w'-]))"
        rf"|{colour}(?=\s+(?:in|by)\s+(?:ethnicity|race)\b)"
        rf"|(?:ethnicit(?:y|ies)|ethnic\s+\w+|race)\b(?:\W+(?:{_SAID}|{_MIX}))*\W+{colour}"
        rf"|(?:{_PERSON}|s?he|they)(?:\s+{_SAID})+\s+{colour}(?!\W+and\W+(?:white|black))"
        rf"|\A\W*{colour}(?=\W*\Z))"
    )


# fact -> value -> pattern, of facts that labels or measurements cover (their values are the profile's labels).
LABELLED: Mapping[str, Mapping[str, str]] = {
    "gender": {
        "Male": r"(?:man|men|boy|male|gentleman|he|his|him)",
        "Female": r"(?:woman|women|girl|female|lady|she|her)",
    },
    "ethnicity": {
        "White": rf"(?:{_group('white')}|caucasian|european)",
        "Black": rf"(?:{_group('black')}|african(?:[- ]american)?)",
        "Asian": r"(?:(?<!south )(?:east |southeast )?asian)",
        "Indian": r"(?:indian|south asian)",
    },
    "expression": {
        "neutral": r"(?:neutral|expressionless)",
        "happiness": r"(?:happy|happiness|smil\w+|cheerful|joy\w*)",
        "surprise": r"surpris\w+",
        "sadness": r"(?:sad|sadness|sorrow\w*)",
        "anger": r"(?:angry|anger|annoyed)",
        "disgust": r"disgust\w*",
        "fear": r"(?:fear\w*|afraid|scared)",
        "contempt": r"contempt\w*",
    },
    "pose": {
        POSES[0]: r"(?:(?:is|a) frontal|(?:looks?|faces?) (?:towards )?the camera|towards the camera|from the front"
        r"|facing forward)",
        POSES[1]: rf"{_TURNED} left",
        POSES[2]: rf"{_TURNED} right",
    },
    "mouth": {
        "open": r"(?:mouth (?:is )?(?:slightly |wide )?open|lips are (?:slightly )?parted|open mouth|parted lips)",
        "closed": r"(?:mouth (?:is )?closed|lips are closed|closed (?:mouth|lips)|mouth and closed)",
    },
    "eyes": {"open": r"eyes are (?:wide |normally )?open", "closed": r"(?:eyes are closed|closed eyes)"},
    "lighting": {
        "dark": rf"(?:(?:light\w*|exposure|face){_ON}(?:dark|dim|underexposed)|(?:dark|dim) (?:exposure|light\w*))",
        "bright": rf"(?:(?:light\w*|face){_ON}bright|bright light\w*)",
        "balanced": rf"(?:(?:light\w*|face){_ON}(?:balanced|even and moderate)|balanced light\w*)",
    },
    "sharpness": {
        "sharp": rf"(?:(?:{_PICTURE}|it) is sharp|focus is good|good sharpness|sharp enough|sharpness allows)",
        "blurred": rf"(?:(?:{_PICTURE}|it) is (?:too )?(?:blurred|blurry|soft)|lack of sharpness|blur hides)",
    },
}  # fmt: skip
# Facts beside those, of which one answer must not claim two values.
SHAPES: Mapping[str, Mapping[str, str]] = {
    "face shape": {"long": r"face is (?:rather )?long\w*", "round": r"face is (?:rather )?(?:round|full)"},
    "jaw": {"broad": r"(?:jaw is broad|broad jaw)", "tapered": r"(?:jaw tapers|jaw is tapered|slim chin)"},
    "nose": {
        "broad": r"nose is (?:relatively )?(?:broad|wide)",
        "narrow": r"nose is (?:relatively )?(?:narrow|slim)",
    },
    "lips": {"full": r"(?:lips are full|full lips)", "thin": r"lips are (?:thin|narrow)"},
    "brows": {
        "raised": r"(?:(?:eyebrows|brows) (?:are raised|sit high)|space between brows and eyes)",
        "low": r"(?:eyebrows|brows) (?:are lowered|are low|sit close)",
    },
    "eye opening": {
        "wide": r"eyes (?:are|look|appear) (?:large and )?wide",
        "narrowed": r"eyes (?:are|look|appear) narrow(?:ed)?",
    },
    "mouth width": {"wide": r"mouth is wide(?! open)", "small": r"mouth is small"},
    "chin": {
        "lowered": r"(?:chin is lowered|bent slightly down)",
        "raised": r"(?:chin is raised|tipped slightly back)",
        "level": r"(?:chin is (?:nearly )?level|held level)",
    },
    "tilt": {"tilted": r"tilted to one side", "upright": r"(?:(?:no|without a) sideways tilt|eyes are on one level)"},
    "light side": {
        "left": rf"(?:more light|light comes){_ON}viewer's left",
        "right": rf"(?:more light|light comes){_ON}viewer's right",
        "even": r"(?:lit evenly|light is spread evenly)",
    },
    "contrast": {"high": r"contrast is (?:high|strong)", "low": r"contrast is (?:low|weak)"},
    "colour": {
        "none": rf"(?:black[- ]and[- ]white|{_PICTURE} has no colour|missing colour)",
        "some": r"colours (?:are (?:muted|vivid|strong)|look natural)",
    },
    "skin tone": {
        "light": r"skin (?:tone )?(?:appears|looks|is) light",
        "medium": r"skin (?:tone )?(?:appears|looks|is) (?:medium|neither)",
        "deep": r"skin (?:tone )?(?:appears|looks|is) (?:deep|dark)",
    },
}
# Those of them that can be measured on the image (`evaluation.labelled`).
MEASURED = ("face shape", "jaw", "nose", "lips", "brows", "chin", "light side", "colour")
# Between an adjective of hair and its noun stand further ones only: "a long nose, dark hair" has no long hair.
_HAIR = (
    r"(?:,?\s+(?:and|very|short|long|medium|straight|wavy|curly|coily|frizzy|thick|thin|thinning|fine|smooth|loose|tied"
    r"|cropped|receding|greying|graying|dark|light|black|brown|blonde?|red|ginger|auburn|gr[ea]y|white|silver)(?![\w-]))*"
    r"\s+hair"
)
# fact -> label -> pattern, of the profile's further fields. One answer may name several: a beard and a moustache, dark
# hair with grey in it.
TRAITS: Mapping[str, Mapping[str, str]] = {
    "glasses": {
        "none": r"(?:(?:no|without) (?:eye)?glasses|wears neither glasses)",
        "glasses": r"(?:(?:eye)?glasses|spectacles)",
        "sunglasses": r"(?:sunglasses|dark glasses)",
    },
    "facial_hair": {
        "none": r"(?:clean[- ]shaven|(?:no|without)(?: any)? (?:facial hair|beard|beard or moustache))",
        "stubble": r"(?:stubble|unshaven)",
        "moustache": r"mou?stache",
        "goatee": r"goatee",
        "beard": r"beard(?:ed)?",
    },
    "hair_colour": {
        "dark": rf"(?:(?:black|dark|dark[- ]brown){_HAIR}|hair is (?:black|dark)|dark-haired|brunette)",
        "brown": rf"(?:(?<!dark )(?<!dark-)(?:brown|light[- ]brown){_HAIR}|hair is (?:light )?brown|brown-haired)",
        "blond": rf"(?:blonde?{_HAIR}|hair is blonde?|blonde?-haired)",
        "red": rf"(?:(?:red|ginger|auburn){_HAIR}|hair is (?:red|ginger|auburn)|red-haired|redhead)",
        "grey": rf"(?:(?:gr[ea]y|white|silver){_HAIR}|hair is (?:gr[ea]y|white|silver)|gr[ea]y-haired)",
    },
    "hair_length": {
        "bald": r"(?:bald(?:ing)?|shaved head)",
        "short": rf"(?:short(?:-cropped)?{_HAIR}|hair is (?:cut )?short|short-haired)",
        "medium": rf"(?:(?:shoulder|chin|medium)[- ]length{_HAIR}|hair reaches the shoulders)",
        "long": rf"(?:long{_HAIR}|hair is long|long-haired)",
    },
    "headwear": {
        "none": r"(?:no|without)(?: a)? (?:hat|cap|headwear|head covering)",
        "hat": r"(?:hat|helmet)",
        "cap": r"cap",
        "headscarf": r"(?:headscarf|hijab|turban)",
        "headband": r"headband",
        "hood": r"hood",
    },
    "makeup": {
        "none": r"(?:no|without)(?: any| visible)? make-?up",
        "light": r"(?:light|subtle|natural|a little) make-?up",
        "strong": r"(?:heavy|strong|bold) make-?up",
    },
    "teeth": {
        "yes": r"(?:teeth (?:are )?(?:visible|showing|shown|show)|(?:shows?|showing)(?: \w+)? teeth)",
        "no": r"(?:no teeth|teeth are (?:hidden|not (?:visible|shown)))",
    },
}
PROFILED = {**LABELLED, **TRAITS}
_SINGLE = {**LABELLED, **SHAPES}
_PATTERNS = {
    fact: {value: re.compile(rf"(?<![\w-]){pattern}(?![\w-])", re.IGNORECASE) for value, pattern in values.items()}
    for fact, values in {**_SINGLE, **TRAITS}.items()
}
_HEDGE = re.compile(
    r"\b(?:could be|might be|may be|not clear|unclear|cannot|can't|hard to|nearly(?! level)|almost"
    r"|slightly(?! (?:open|parted))|either|whether"
    r"|would both|neither|if |mild|outside|mixed|such as)\b|\bor as\b",
    re.IGNORECASE,
)
# What a denial reaches: the next word that says something, and those that "or" joins to it.
_FILL = (
    r"(?:an?|the|any|be|being|to|of|in|do|does|very|really|particularly|especially|truly|fully|quite|clear|clearly"
    r"|visible|visibly|obvious|obviously|apparent|apparently|evident|evidently|noticeable|noticeably|distinct|strong"
    r"|strongly|signs?|hints?|traces?|evidence|indications?|impression|expressions?|feelings?|look|looking|appear"
    r"|appearing|seem|show|showing|wear|wearing|have|having|displaying|express|expressing|suggest|suggesting|convey)"
)
_DENIAL = re.compile(
    rf"(?:\b(?:not|no|without|nor|never)|n't)(?P<of>\s+(?:{_FILL}\s+)*[\w'-]+"
    rf"(?:(?:,\s+[\w'-]+)*,?\s+n?or\s+(?:{_FILL}\s+)*[\w'-]+)?)",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_CLAUSES = re.compile(r",? and (?=the )", re.IGNORECASE)

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b", re.IGNORECASE)
_YEARS = re.compile(
    r"(\d{1,3})\s*(?:and|to|-|\u2013)\s*(\d{1,3})(?=\s*(?:years|-year)|[^.]*\bage)"
    r"|(\d{1,3})[- ]years?[- ]old|(?:not older than|younger than|under)\s+(?:about\s+)?(\d{1,3})",
    re.IGNORECASE,
)
_DECADE = re.compile(
    r"\b(?:in (?:his|her|their) )?(?:(early|mid|late)[- ])?(twenties|thirties|forties|fifties|sixties)\b", re.I
)
_TENS = {"twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60}
# Words for stages of life and the years they cover, generously.
STAGES = (
    (r"(?:baby|infant|toddler)", 0, 4),
    (r"(?:child|little (?:boy|girl))", 2, 14),
    (r"(?:teenager|teenage|adolescent)", 11, 21),
    (r"young (?:adult|man|woman)", 15, 40),
    (r"middle-aged", 35, 65),
    (r"(?:elderly|older (?:adult|man|woman|person)|senior)", 50, 120),
)
AGE_SLACK = 3  # years beyond a named range that are not yet called a contradiction
LOOP_WORDS = 8  # longest run of words that is looked for again right behind itself
_SAME = re.compile(r"\b(?P<word>\w+),? (?:or|and) (?:as |the |a )?(?P=word)\b", re.IGNORECASE)  # "White or as White"


def sentences(text: str) -> list[str]:
    """The text's sentences, apostrophes plain, empty ones left out."""
    return [s for s in _SENTENCES.split(text.replace("\u2019", "'").strip()) if s]


def found(text: str, facts: Collection[str] = tuple(_SINGLE)) -> dict[str, set[str]]:
    """fact -> every value that the text claims.  facts: those looked for."""
    result: dict[str, set[str]] = {}
    for clause in (part for sentence in sentences(text) for part in _CLAUSES.split(sentence)):
        hedged, denied = bool(_HEDGE.search(clause)), [m.span("of") for m in _DENIAL.finditer(clause)]
        for fact, values in _PATTERNS.items():
            if fact not in facts or (hedged and fact != "gender"):
                continue
            here = {value for value, pattern in values.items() if _says(pattern, clause, denied)}
            if here and not (hedged and len(here) > 1):  # "it is not clear whether the person is male or female"
                result.setdefault(fact, set()).update(here)
    return result


def _says(pattern: re.Pattern[str], clause: str, denied: Collection[tuple[int, int]]) -> bool:
    """Whether the pattern matches anywhere but behind a denial."""
    return any(not any(a <= m.start() < b for a, b in denied) for m in pattern.finditer(clause))


def claims(text: str, facts: Collection[str] = LABELLED) -> dict[str, str]:
    """fact -> the one value that the text claims; a fact without a claim, or with two, is missing."""
    unclear = _unsettled_gender(text)
    return {
        fact: next(iter(values))
        for fact, values in found(text, facts).items()
        if len(values) == 1 and not (fact == "gender" and unclear)
    }


def _unsettled_gender(text: str) -> bool:
    """Whether a sentence weighs both genders: then a stray "he" elsewhere is no claim."""
    return any(
        _HEDGE.search(s) and all(pattern.search(s) for pattern in _PATTERNS["gender"].values()) for s in sentences(text)
    )


def _ranges(text: str) -> list[tuple[int, int]]:
    text = _NUMBER.sub(lambda match: str(_NUMBERS.index(match[0].lower())), text)
    ranges = []
    for match in _YEARS.finditer(text):
        if match[4]:
            ranges.append((0, int(match[4])))
        elif match[3]:
            ranges.append((int(match[3]), int(match[3])))
        elif int(match[1]) <= int(match[2]) <= 120:
            ranges.append((int(match[1]), int(match[2])))
    for match in _DECADE.finditer(text):
        low = _TENS[match[2].lower()]
        shift = {"early": (0, 4), "mid": (3, 7), "late": (6, 9)}.get((match[1] or "").lower(), (0, 9))
        ranges.append((low + shift[0], low + shift[1]))
    return ranges


def _stages(text: str) -> list[tuple[int, int]]:
    return [(low, high) for pattern, low, high in STAGES if re.search(rf"\b{pattern}\b", text, re.IGNORECASE)]


def age_claim(text: str) -> tuple[int, int] | None:
    """The range of years that the text names, in numbers, decades or stages of life; the narrowest wins; None: none."""
    ranges = _ranges(text) or _stages(text)
    return min(ranges, key=lambda r: r[1] - r[0]) if ranges else None


def conflicts(text: str) -> dict[str, list[str]]:
    """fact -> the values between which the text contradicts itself ("the lips are closed ... the mouth is open").

    Ages: two ranges, or a range and a stage of life, that are more than `AGE_SLACK` years apart.
    """
    result = {fact: sorted(values) for fact, values in found(text).items() if len(values) > 1}
    spans = _ranges(text) + _stages(text)
    low, high = max((s[0] for s in spans), default=0), min((s[1] for s in spans), default=0)
    if low > high + AGE_SLACK:
        result["age"] = sorted({f"{a}-{b}" for a, b in spans})
    return result


def repeats(text: str) -> list[str]:
    """Sentences that stand in the text twice, runs of words said again at once, and choices between the same.

    A run of three words and more counts when it is said twice in a row, a shorter one when it is said three times.
    """
    plain = [" ".join(re.findall(r"[\w'-]+", s.lower())) for s in sentences(text)]
    twice = [s for s, count in Counter(plain).items() if s and count > 1]
    twice += [match[0] for match in _SAME.finditer(text)]
    words = re.findall(r"[\w'-]+", text.lower())
    for size in range(1, LOOP_WORDS + 1):
        times = 2 if size > 2 else 3
        for start in range(len(words) - size * times + 1):
            run = words[start : start + size]
            if words[start : start + size * times] == run * times:
                phrase = f"{' '.join(run)} (again and again)"
                return [*twice, phrase] if not any(" ".join(run) in s for s in twice) else twice
    return twice


def is_cut(text: str) -> bool:
    """Whether the text ends in the middle of a sentence."""
    return not re.search(r"[.!?][\"')\u201d]*$", text.strip())

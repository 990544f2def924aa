"""Which option did an answer choose? Our rules, and an exact equivalent of FaceXBench's published extraction.

Nothing is ever guessed: an answer that names no option stays None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from train.evaluate.prompts import LETTERS


@dataclass(frozen=True)
class Extraction:
    """letter: "A", "B", ... or None.  how: the rule that found it, or "refused", "several options", "nothing".
    refused: the text declines to answer (it may still name a letter)."""

    letter: str | None
    how: str
    refused: bool


# --- ours ---------------------------------------------------------------------------------------------------------

_REFUSAL = re.compile(
    r"""\b(?:
        i\s*(?:'m|\s+am)\s+(?:very\s+|so\s+)?sorry | (?:^|[.!]\s*)sorry\b | \bi\s+apologi[sz]e
      | (?:can\s*not|can't|could\s+not|couldn't|won't|will\s+not|unable\s+to|not\s+able\s+to|not\s+going\s+to
          |not\s+comfortable|decline\s+to|must\s+refuse\s+to|refuse\s+to)\s*
        (?:(?!be\b)\w+\s+){0,3}?(?:help|assist|answer|identify|identifying|determine|determining|provide|providing|guess|tell|say
          |comply|infer|inferring|estimate|judge|make|choose|recogni[sz]e|describe|do|classify|comment)
      | as\s+an?\s+(?:ai|artificial\s+intelligence|language\s+model)
      | (?:not\s+(?:appropriate|possible|ethical)|inappropriate|impossible)\s+(?:for\s+me\s+)?to
        \s+(?:\w+\s+){0,2}?(?:identify|determine|infer|guess|tell|judge|say|answer|classify)
    )\b""",  # whole words: "the age cannot be determined" speaks of one property, and answers
    re.IGNORECASE | re.VERBOSE,
)
_MARKUP = re.compile(r"\\(?:boxed|text|textbf|mathbf)\s*|[*_`$]+")
_NAMED = re.compile(
    r"""\b(?:(?:the\s+)?(?:final\s+|correct\s+|right\s+|best\s+|most\s+\w+\s+)*
          (?:answer|option|choice|letter|selection|response)(?:\s+letter)?
          (?:\s+(?:is|would\s+be|will\s+be|should\s+be|must\s+be|seems\s+to\s+be|to\s+this\s+question\s+is))?
          |(?:i|we)\s+(?:would\s+|will\s+|'d\s+|'ll\s+)?(?:choose|pick|select|go\s+(?:with|for))(?:\s+(?:option|choice|letter))?
          |(?:it|this)\s+(?:is|must\s+be|would\s+be)\s+(?:option|choice|letter)
        )\s*(?:\:|=|-|\u2013|\u2014)?\s*(?:\(|\[|\{|"|')?\s*
        (?P<letter>[A-Za-z])
        (?P<after>\s*(?:\)|\]|\}|"|'|\.|,|;|:|$)|\s)""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_ALONE = re.compile(r"^[\s(\[{\"']*(?P<letter>[A-Za-z])[\s)\]}\"'.,:;!]*$")
_LEADING = re.compile(
    r"^[\"']?(?:[(\[{]\s*(?P<a>[A-Za-z])\s*[)\]}]|(?P<b>[A-Za-z])\s*(?:[)\].:,]|\s[-\u2013\u2014]\s|\n|$))"
)
_BRACKETED = re.compile(r"[(\[{]\s*(?P<letter>[A-Za-z])\s*[)\]}]")
_TRAILING = re.compile(r"(?:^|[\s(\[\"':])(?P<letter>[B-Z])[)\]\"'.!]*\s*$|(?:^|[.:!?]\s+|\n)(?P<a>A)[)\]\"'.!]*\s*$")
_LINKED = re.compile(r"\b(?:or|nor|and|not)\s*$", re.IGNORECASE)  # "either A or B", "not B": no choice
# "Person A" of a question about several people is no option.
_SUBJECT = re.compile(
    r"\b((?i:persons?|subjects?|individuals?|identit(?:y|ies)))\s+[A-Z](?:,?\s+(?:and|or)\s+[A-Z])*(?![\w'-])"
)
_STANDING = re.compile(r"(?<![\w'\-/&])(?P<letter>[B-HJ-Z]|A(?=\s*(?:[.,;:!?)\]]|$)))(?![\w'\-/&])")


def is_refusal(text: str) -> bool:
    """Whether the text declines to answer ("I'm sorry, but I can't ...", "As an AI ...")."""
    return bool(_REFUSAL.search(_plain(text)))


def extract(text: str, options: Sequence[object]) -> Extraction:
    """The option that `text` chooses.

    Rules, the first that fits: the text is a letter; it names "the answer", "option", "choice" with a letter (the last
    such place, since reasoning ends with its answer); it begins with "(B)", "B)", "B." or "B:"; it ends with a letter
    standing alone; one option is quoted in full (longest first, whole words, any case, so "female" is never "male");
    a bracketed or lone capital occurs, and only one. "A" counts as a letter only where it cannot be the article, and
    "I" never does; nor does the name in "person B", unless the answer names it by one of the first three rules. A
    refusal keeps only those three. Lower-case letters count only where nothing else can be meant. Two different
    options with no rule to choose: None.
    """
    labels = LETTERS[: len(options)]
    plain = _plain(text)
    refused = bool(_REFUSAL.search(plain))
    letter, how = _explicit(plain, labels)
    if letter is None and not refused:
        letter, how = _implied(plain, labels, options)
    if letter is None and refused:
        how = "refused"
    return Extraction(letter, how, refused)


def _plain(text: str) -> str:
    text = str(text).replace("\u2019", "'").replace("\u2018", "'").replace("\u201c", '"').replace("\u201d", '"')
    # Spaces and tabs merge; newlines stay, because a letter on a line of its own is an answer.
    return re.sub(r"[ \t]+", " ", _MARKUP.sub("", text)).strip()


def _explicit(text: str, labels: str) -> tuple[str | None, str]:
    if match := _ALONE.match(text):
        letter = match["letter"].upper()
        return (letter, "letter") if letter in labels else (None, "nothing")
    named = [m for m in _NAMED.finditer(text) if _names_letter(m, labels)]
    if named:
        return named[-1]["letter"].upper(), "named"
    if match := _LEADING.match(text):
        written = match["a"] or match["b"]
        if written.upper() in labels and (match["a"] or written.isupper()):
            return written.upper(), "leading"
    return None, "nothing"


def _names_letter(match: re.Match[str], labels: str) -> bool:
    letter, after = match["letter"], match["after"]
    if letter.upper() not in labels:
        return False
    opened = bool(re.search(r"[(\[{\"']\s*$", match.string[match.start() : match.start("letter")]))
    if letter.islower():
        # "the answer is a" can be the article; "b", "c" and "(a)" cannot.
        return opened or (letter != "a" and (bool(after.strip()) or match.end() == len(match.string)))
    # "The answer is A man": the article again.
    return (
        letter != "A"
        or opened
        or bool(after.strip())
        or match.end("letter") == len(match.string.rstrip())
        or (after.startswith("\n"))
    )


def _implied(text: str, labels: str, options: Sequence[object]) -> tuple[str | None, str]:
    bare = _SUBJECT.sub(r"\1", text)
    match = _TRAILING.search(bare)
    if match and not _LINKED.search(bare[: match.start()]):
        letter = match["letter"] or match["a"]
        if letter in labels:
            return letter, "trailing"
    quoted = _quoted(text, options)
    if len(quoted) == 1:
        return labels[quoted.pop()], "quoted"
    letters = {m["letter"].upper() for m in _BRACKETED.finditer(bare)} & set(labels)
    letters = letters or {m["letter"] for m in _STANDING.finditer(bare)} & set(labels)
    if len(letters) == 1:
        return letters.pop(), "lone letter"
    return None, "several options" if len(quoted) > 1 or len(letters) > 1 else "nothing"


def _quoted(text: str, options: Sequence[object]) -> set[int]:
    """Indices of the options that stand in `text` as whole words; a longer option hides a shorter one inside it."""
    found: set[int] = set()
    taken: list[tuple[int, int]] = []
    for index in sorted(range(len(options)), key=lambda i: -len(str(options[i]))):
        words = [re.escape(word) for word in str(options[index]).split()]
        if not words:
            continue
        phrase = r"\s+".join(words)
        for match in re.finditer(rf"(?<![\w\-])(?:{phrase})(?![\w\-]|\.\d)", text, re.IGNORECASE):
            if not any(match.start() < end and start < match.end() for start, end in taken):
                taken.append(match.span())
                found.add(index)
    return found


# --- FaceXBench's -------------------------------------------------------------------------------------------------

# What the published scorer looks for, in its order: a lone letter with or without brackets, "Option X", "X.", "X:",
# "X -", "(X)". Its word boundaries make the last one match only after a word character.
_PUBLISHED = tuple(
    re.compile(rule)
    for rule in (
        r"\b\(?([A-Za-z])\)?\b",
        r"\bOption\s+([A-Za-z])\b",
        r"\b([A-Za-z])\.",
        r"\b([A-Za-z]):",
        r"\b([A-Za-z])\s+-",
        r"\b\(([A-Za-z])\)",
    )
)


def extract_published(text: str, options: Sequence[object]) -> str | None:
    """The letter that FaceXBench's `aggregate_results.py` reads, with its mistakes.

    Case-sensitive; any lone capital wins over what the sentence says, so the article in "A middle-aged man" is option
    A; an option's text counts wherever it occurs, so "female" is "male" and "20-29" is "0-2"; "c" and "(b)" are
    nothing.
    """
    text = str(text).strip()
    labels = LETTERS[: len(options)]
    for rule in _PUBLISHED:
        match = rule.match(text)
        if match and match.group(1) in labels:
            return match.group(1)
    for rule in _PUBLISHED:
        for letter in rule.findall(text):
            if letter in labels:
                return letter
    for letter, option in zip(labels, options, strict=True):
        if str(option).strip() in text:
            return letter
    return None


def _ours(text: str, options: Sequence[object]) -> str | None:
    return extract(text, options).letter


SCORERS: dict[str, Callable[[str, Sequence[object]], str | None]] = {"ours": _ours, "published": extract_published}

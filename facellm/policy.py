"""The operator's switch FACELLM_SENSITIVE: what is left of attributes, profile and answers when it is off.

Input: attributes, profile fields, texts. Off means: no attribute that asks for ethnicity or emotion, no such profile
field, and no sentence about them in any answer, whatever was asked. The words are a list, not a model: it errs on the
side of leaving a sentence out. The page, the command line and the server all go through it; the Python interface does
not. What this file does not know: Gradio, models.
"""

from __future__ import annotations

import re

from facellm.attributes import ATTRIBUTES, Attribute
from facellm.errors import FaceLLMError

REFUSED = "Ethnicity and emotion are switched off by the operator (FACELLM_SENSITIVE=off); ask about something else."
REMOVED = "(Left out here: sentences about ethnicity or emotion, which the operator switched off.)"

_ETHNICITY = (
    r"ethnic\w*|rac(?:e|es|ial\w*)|descent|ancestr\w*|heritage|nationalit\w*|caucasian\w*|european\w*|african\w*|"
    r"asian\w*|indian\w*|latin[oaxe]s?|latin american\w*|hispanic\w*|middle[ -]eastern\w*|arab\w*|jewish|"
    r"indigenous|polynesian\w*|"
    r"(?:white|black|brown) (?:man|men|woman|women|male\w*|female\w*|person|people|individual\w*|boy\w*|girl\w*|"
    r"child\w*|adult\w*|baby|infant)"
)
_EMOTION = (
    r"emotion\w*|mood\w*|feel\w*|happ(?:y|i\w+)|joy\w*|cheer\w*|sad\w*|sorrow\w*|ang(?:er|ry|rily)|fear\w*|afraid|"
    r"disgust\w*|contempt\w*|surpris\w*|anxi\w+|worr(?:y|ied)|content(?:ment)?|amus\w+|delight\w*|pleased|calm\w*|"
    r"seren\w+|melanchol\w+|distress\w*|upset|excite\w*|confiden(?:t|ce)|neutral (?:expression|face|mood)|"
    r"expression of \w+"
)
_SENSITIVE = re.compile(rf"\b(?:{_ETHNICITY}|{_EMOTION})\b", re.IGNORECASE)
# A stop within a word ("2.5 years", "e.g.") ends no sentence.
_SENTENCE = re.compile(r"(?:[^.!?\n]|[.!?]+(?=[^\s.!?]))*(?:[.!?]+(?:\s+|$)|\n+|$)")
_ENDED = re.compile(r"(?:[.!?]\s|\n)\s*$")


def attributes(sensitive: bool) -> tuple[Attribute, ...]:
    """The attributes that may be asked about, in the paper's order."""
    return tuple(a for a in ATTRIBUTES if sensitive or not a.sensitive)


def allowed(text: str, sensitive: bool) -> bool:
    """Whether a question may be asked as it stands."""
    return sensitive or _SENSITIVE.search(text) is None


def visible(text: str, sensitive: bool, done: bool = True) -> str:
    """What of an answer may be shown.

    Switched on: all of it. Switched off: the sentences that speak of neither; while the answer is still being written
    its last, unfinished sentence is held back.
    """
    if sensitive:
        return text
    sentences = [s for s in _SENTENCE.findall(text) if s]
    if not done and sentences and not _ENDED.search(sentences[-1]):
        sentences.pop()
    kept = [s for s in sentences if _SENSITIVE.search(s) is None]
    shown = "".join(kept).strip()
    if done and len(kept) < len(sentences):
        shown = f"{shown}\n\n{REMOVED}".strip()
    return shown


def check(question: str, sensitive: bool) -> None:
    """Raises FaceLLMError where the question may not be asked as it stands."""
    if not allowed(question, sensitive):
        raise FaceLLMError(REFUSED)


class Screen:
    """One answer's text on its way to a reader who cannot take words back: what may be shown of it, piece by piece.

    `text`: all that was shown. At its end it equals visible() of the whole answer.
    """

    def __init__(self, sensitive: bool):
        self.sensitive = sensitive
        self.text = ""
        self._raw = ""

    def add(self, text: str, done: bool = False) -> str:
        """What may be shown now that `text` has come too."""
        if self.sensitive:
            self.text += text
            return text
        self._raw += text
        shown = visible(self._raw, self.sensitive, done)
        new = shown[len(self.text) :]
        self.text = shown
        return new

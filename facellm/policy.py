"""What is left of questions and answers where the operator sets FACELLM_SENSITIVE=off.

No attribute or profile field that asks for ethnicity or emotion is offered, and no sentence about them is shown,
whatever was asked. The words are a list, not a model, so it errs on the side of leaving a sentence out. The page, the
command line and the server all go through it; the Python interface does not.
"""

from __future__ import annotations

import json
import re
from typing import Any

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
    """Returns the attributes that may be asked about, in the paper's order."""
    return tuple(a for a in ATTRIBUTES if sensitive or not a.sensitive)


def allowed(text: str, sensitive: bool) -> bool:
    """Whether a question may be asked as it stands."""
    return sensitive or _SENSITIVE.search(text) is None


def visible(text: str, sensitive: bool, done: bool = True) -> str:
    """Returns what of an answer may be shown.

    Args:
        text: The answer so far.
        sensitive: Whether all of it may be shown; otherwise sentences about ethnicity or emotion are left out.
        done: Whether the answer is finished; until then its last, unfinished sentence is held back.
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


def visible_json(text: str, sensitive: bool) -> str:
    """Returns what of a finished JSON answer may be shown, as JSON.

    Names and texts within it are screened one by one: a field whose name speaks of ethnicity or emotion is left out,
    and of every other text the sentences that do. JSON that its budget cut off is shown where nothing in it does.
    """
    if sensitive or (_SENSITIVE.search(text) is None and "\\u" not in text):
        return text
    try:
        return json.dumps(_visible_value(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _visible_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _visible_value(one) for key, one in value.items() if allowed(key, False)}
    if isinstance(value, list):
        return [_visible_value(one) for one in value]
    return visible(value, False) if isinstance(value, str) else value


def check(question: str, sensitive: bool) -> None:
    """Raises FaceLLMError where the question may not be asked as it stands."""
    if not allowed(question, sensitive):
        raise FaceLLMError(REFUSED)


class Screen:
    """Screens an answer piece by piece on its way to a reader who cannot take words back.

    Attributes:
        text: All that was shown; in the end it equals `visible` of the whole answer.
    """

    def __init__(self, sensitive: bool, as_json: bool = False):
        """Screens JSON as a whole where `as_json` says so: sentences mean nothing there before it is complete."""
        self.sensitive, self.as_json = sensitive, as_json
        self.text = ""
        self._raw = ""

    def add(self, text: str, done: bool = False) -> str:
        """Returns what may be shown now that `text` has come too."""
        if self.sensitive:
            self.text += text
            return text
        self._raw += text
        if self.as_json:
            self.text = visible_json(self._raw, False) if done else ""
            return self.text
        shown = visible(self._raw, self.sensitive, done)
        new = shown[len(self.text) :]
        self.text = shown
        return new

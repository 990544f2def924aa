"""The text of a multiple-choice question, in FaceXBench's published form: one builder for training and measuring."""

from __future__ import annotations

from collections.abc import Sequence

from facellm.errors import FaceLLMError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# FaceXBench's own instruction, the same in its 48 files (`postpend_text`); it stands before the options.
ANSWER_WITH_LETTER = "Please answer the question and provide only the correct option letter, e.g., A, B, C, D."
# FaceXBench reports a chain-of-thought setting but publishes no wording for it; this one is ours.
THINK_FIRST = (
    "Please think step by step about what is visible, then finish with a line of the form 'Answer: X', "
    "where X is the letter of the correct option."
)
SHOWN_AS_PUBLISHED = 4  # options that FaceXBench's evaluate.py puts into a prompt; it has no letter for a fifth
SETTINGS = ("zero-shot", "in-context", "chain-of-thought")


def choice_prompt(
    question: str, options: Sequence[object], prepend: str = "", postpend: str = "", context: str = ""
) -> str:
    """`[context]`, `[prepend]`, question, `[postpend]`, then one line "(A) option" each; parts are divided by newlines.

    options: 1 to 26, of any type (the published files mix text and whole numbers).
    The published harness also leaves a newline after the last option, which `build_messages` strips from every
    question, so it is left out here.
    Raises FaceLLMError for an empty question or a number of options that letters cannot name.
    """
    if not str(question).strip():
        raise FaceLLMError("A multiple-choice question has no text; give it a `question_text`.")
    if not 1 <= len(options) <= len(LETTERS):
        raise FaceLLMError(f"A multiple-choice question has {len(options)} options; it needs 1 to {len(LETTERS)}.")
    parts = [part for part in (context, prepend) if part]
    parts.append(str(question))
    if postpend:
        parts.append(postpend)
    parts.extend(f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join(parts)


def setting_prompt(setting: str, question: str, options: Sequence[object], texts: dict[str, str]) -> str:
    """The prompt of one of FaceXBench's three settings.

    texts: `prepend_text`, `postpend_text` and `context` of the benchmark file (missing keys count as empty). The
    task description (`prepend_text`) is used in-context only; with chain-of-thought the demand for a bare letter is
    replaced by `THINK_FIRST`.
    Raises FaceLLMError for an unknown setting.
    """
    if setting not in SETTINGS:
        raise FaceLLMError(f"There is no setting {setting!r}; choose from {', '.join(SETTINGS)}.")
    return choice_prompt(
        question,
        options,
        prepend=texts.get("prepend_text") or "" if setting == "in-context" else "",
        postpend=THINK_FIRST if setting == "chain-of-thought" else texts.get("postpend_text") or "",
        context=texts.get("context") or "",
    )


def published_prompt(setting: str, question: str, options: Sequence[object], texts: dict[str, str]) -> str:
    """The prompt as FaceXBench's `evaluate.py` builds it, to the character: a newline ends every part, the last too.

    Args and errors as of `setting_prompt`; what stands behind the fourth option is left out, as there.
    """
    return setting_prompt(setting, question, options[:SHOWN_AS_PUBLISHED], texts) + "\n"

"""The eight attributes of a face that FaceLLM is asked about: the one list that demo, training and tests share.

The order and the wording of the questions are those of the FaceLLM paper (arXiv 2507.10300, FairFaceGPT).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facellm.errors import FaceLLMError


@dataclass(frozen=True)
class Attribute:
    """One aspect of a face.

    Attributes:
        key: Short name for the command line, files and links.
        title: Heading for people.
        question: What the model is asked.
        description: What an answer covers.
        sensitive: Whether an answer infers ethnicity or emotion, which an operator can switch off (see
            `sensitive_allowed`).
    """

    key: str
    title: str
    question: str
    description: str
    sensitive: bool = False


def _described(what: str) -> str:
    return f"Describe the {what} of the image based on the visual information."


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "demographic",
        "Demographic attributes",
        _described("demographic attributes"),
        "Apparent age group, gender and ethnicity: estimates from the picture, not facts about the person.",
        sensitive=True,
    ),
    Attribute(
        "structure",
        "Facial structure",
        _described("facial structure"),
        "Shape of face, jaw, cheekbones, nose, lips, eyes and brows.",
    ),
    Attribute(
        "skin",
        "Skin texture",
        _described("skin texture"),
        "Smoothness, lines, tone and what the picture's sharpness lets one see of them.",
    ),
    Attribute(
        "expression",
        "Expression and emotion",
        _described("expression and emotion"),
        "Mouth, eyes and brows, and the emotion that they suggest.",
        sensitive=True,
    ),
    Attribute(
        "lighting",
        "Lighting and image quality",
        _described("lighting and image quality"),
        "Brightness, direction of light, contrast, sharpness and noise.",
    ),
    Attribute(
        "pose",
        "Face pose",
        _described("face pose"),
        "Where the head is turned, tilted and inclined, from the viewer's side.",
    ),
    Attribute(
        "forensic",
        "Forensic considerations",
        _described("forensic considerations"),
        "What would help or hinder a careful examination: visibility, occlusion, quality, distinctive features.",
    ),
    Attribute(
        "detail",
        "The whole image",
        "Describe this image.",
        "One description of everything that is seen.",
    ),
)

_BY_KEY = {a.key: a for a in ATTRIBUTES}


def attribute(key: str) -> Attribute:
    """Returns the attribute of that key.  Raises FaceLLMError, naming the known keys, for any other."""
    try:
        return _BY_KEY[key.strip().lower()]
    except KeyError:
        raise FaceLLMError(
            f"There is no attribute {key!r}; choose from {', '.join(_BY_KEY)} (separated by commas)."
        ) from None


def read_switch(name: str, default: bool, env: Mapping[str, str] | None = None) -> bool:
    """Reads an environment variable that is on or off.

    Args:
        name: The variable.
        default: What an absent or empty variable means.
        env: The environment; None reads the process's own.

    Raises:
        FaceLLMError: For any other value, so that a typing error does not pass for a choice.
    """
    value = (os.environ if env is None else env).get(name, "").strip().lower()
    if value in ("on", "1", "true", "yes"):
        return True
    if value in ("off", "0", "false", "no"):
        return False
    if value:
        raise FaceLLMError(f"{name} is {value!r}; set it to on or off.")
    return default


def sensitive_allowed(env: Mapping[str, str] | None = None) -> bool:
    """Whether ethnicity and emotion may be asked about here: the operator's switch FACELLM_SENSITIVE (default on).

    Inferring them from faces is restricted by law in places (the EU AI Act among them).

    Args:
        env: The environment; None reads the process's own.

    Raises:
        FaceLLMError: For a value other than on and off.
    """
    return read_switch("FACELLM_SENSITIVE", True, env)


def select(keys: str | Iterable[str | Attribute] | None = None) -> tuple[Attribute, ...]:
    """Returns the attributes asked for, each once, in the paper's order.

    Args:
        keys: "a,b", or keys or Attributes. None and an empty choice stand for all that the operator allows.

    Raises:
        FaceLLMError: For an unknown key, and for a sensitive one that is switched off.
    """
    allowed = sensitive_allowed()
    parts = [k for k in keys.split(",") if k.strip()] if isinstance(keys, str) else list(keys or ())
    if not parts:
        return tuple(a for a in ATTRIBUTES if allowed or not a.sensitive)
    wanted = {(k if isinstance(k, Attribute) else attribute(k)).key for k in parts}
    chosen = tuple(a for a in ATTRIBUTES if a.key in wanted)
    refused = [a.key for a in chosen if a.sensitive and not allowed]
    if refused:
        raise FaceLLMError(f"The operator switched off {', '.join(refused)} (FACELLM_SENSITIVE=off); leave it out.")
    return chosen

"""FaceLLM: a vision-language model for faces (InternVL3 with a LoRA adapter on its decoder).

    from facellm import load, ATTRIBUTES
    report = load("nano").describe("portrait.jpg")

Importing this package imports neither torch nor transformers: both take seconds, and `--help` must not.
"""

from typing import TYPE_CHECKING

from facellm.attributes import ATTRIBUTES, Attribute, attribute

if TYPE_CHECKING:
    from facellm.api import FaceLLM, load
    from facellm.client.client import connect
    from facellm.errors import FaceLLMError

__version__ = "0.1.0"
__all__ = ["ATTRIBUTES", "Attribute", "FaceLLM", "FaceLLMError", "attribute", "connect", "load"]

_LAZY = {"load": "api", "FaceLLM": "api", "FaceLLMError": "errors", "connect": "client.client"}


def __getattr__(name: str):
    """Import on first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)

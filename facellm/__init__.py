"""FaceLLM: a vision-language model for faces (InternVL3 with a LoRA adapter on its decoder).

    from facellm import load, ATTRIBUTES
    report = load("nano").describe("portrait.jpg")

Everything is imported on first use (PEP 562): torch and transformers take seconds, and `--help` must not.
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it, without the time that importing typing takes
if TYPE_CHECKING:
    from facellm.api import FaceLLM, load
    from facellm.attributes import ATTRIBUTES, Attribute, attribute
    from facellm.client.connecting import connect
    from facellm.errors import FaceLLMError

__version__ = "0.2.0"
__all__ = ["ATTRIBUTES", "Attribute", "FaceLLM", "FaceLLMError", "attribute", "connect", "load"]

_MODULES = dict.fromkeys(("ATTRIBUTES", "Attribute", "attribute"), "attributes")
_MODULES |= {"load": "api", "FaceLLM": "api", "FaceLLMError": "errors", "connect": "client.connecting"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)

"""What a visitor reads about an error: one sentence, without this machine's paths."""

from __future__ import annotations

import gc
import html
import logging
import re
import uuid

from demo.page import texts
from facellm.errors import FaceLLMError, out_of_memory

log = logging.getLogger("facellm.demo")

# An absolute path within a sentence, in quotes or bare, where a space belongs to it if a separator follows soon; a
# URL's path is none.
_QUOTED = re.compile(r"""(?<=['"])(?:[A-Za-z]:[\\/]|/)[^'"]+(?=['"])""")
_PART = r"[^\s'\",;:()]"
_BARE = re.compile(rf"(?<![\w:/\\.~-])(?:[A-Za-z]:[\\/]|/)(?:{_PART}|\s(?=(?:\w+\s){{0,2}}\w{_PART}*[\\/]))*(?<![\s.])")


def sentence(error: BaseException) -> str:
    """Returns what the visitor reads about an error. Unexpected ones go to the log under a reference."""
    if isinstance(error, FaceLLMError):
        said = str(error)
        if (shown := without_paths(said)) != said:
            log.warning("%s", said)
        return shown
    if out_of_memory(error):
        free_memory()
        return texts.OUT_OF_MEMORY
    import gradio as gr

    if isinstance(error, gr.Error):  # ZeroGPU's: no quota, no GPU free; some have tags
        return html.unescape(re.sub(r"<[^>]+>", "", error.message))
    reference = uuid.uuid4().hex[:8]
    log.error("reference %s", reference, exc_info=error)
    return texts.INTERNAL.format(reference=reference)


def without_paths(text: str) -> str:
    """Returns `text` with each absolute path cut to its last name; a folder in the hub's cache becomes the hub id."""
    return _BARE.sub(_last_name, _QUOTED.sub(_last_name, text))


def _last_name(found: re.Match[str]) -> str:
    parts = re.split(r"[\\/]+", found.group().rstrip("\\/"))
    cached = next((p for p in parts if p.startswith("models--")), None)
    return cached.removeprefix("models--").replace("--", "/") if cached else parts[-1]


def free_memory() -> None:
    """Gives back what a failed request left behind, on the GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

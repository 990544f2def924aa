"""Gradio's Blocks, taking nothing for a file but what was uploaded here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from demo.web.uploads import folder_in_use
from facellm.errors import FaceLLMError

_MAX_DEPTH = 32  # of what a request may hold: lists in lists


class GuardedBlocks(gr.Blocks):
    """Looks at the values of every listener and endpoint before Gradio fetches, decodes or copies what they name."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **keywords: Any) -> Any:
        """As in Gradio; raises gr.Error with a sentence where `check_inputs` refuses."""
        try:
            check_inputs(inputs)
        except FaceLLMError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return await super().preprocess_data(block_fn, inputs, *args, **keywords)


def check_inputs(values: Iterable[Any]) -> None:
    """Refuses files that were not uploaded.

    Args:
        values: What a request gives to an endpoint or a listener, as parsed JSON.

    Raises:
        FaceLLMError: For an address in place of a file, a path outside the upload folder, or too many nested lists.
    """
    folder = folder_in_use()
    level = list(values)
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                _check_file(value, folder)
                below += value.values()
            elif isinstance(value, list):
                below += value
        if not below:
            return
        level = below
    raise FaceLLMError("The request holds lists within lists within lists: send a photo and plain settings.")


def _check_file(value: Mapping[str, Any], folder: Path) -> None:
    path, url = value.get("path"), value.get("url")
    if not ("meta" in value or url or value.get("orig_name")):
        return  # no file, for Gradio neither
    names = [name.strip().lower() for name in (path, url) if isinstance(name, str)]
    # An uploaded file's url is an address of this page; Gradio reads it only where there is no path.
    fetched = names[:1] if path else names
    if any(name.startswith("data:") for name in names) or any(_is_address(name) for name in fetched):
        raise FaceLLMError("A photo cannot be given as an address here: download it, upload the file and name that.")
    if isinstance(path, str) and path:
        try:
            inside = Path(path).resolve().is_relative_to(folder)
        except (OSError, ValueError):  # a zero byte, a name that is too long
            inside = False
        if not inside:
            raise FaceLLMError("This file was not uploaded here, or is there no more: upload the photo again.")


def _is_address(name: str) -> bool:
    scheme, colon, _ = name.partition(":")
    return bool(colon) and len(scheme) > 1 and scheme.isalnum()  # one letter is a drive of Windows

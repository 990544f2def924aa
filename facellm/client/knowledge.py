"""What has to be known of a model that a foreign server serves, and that no server tells: labels, fields, calibration.

It travels in the model's folder (config.json and calibration.json) or in one file like calibration.json, which may name
"label_set" and "fields" beside the temperatures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.profile import read_calibration
from facellm.weights.registry import METADATA, Declared, read_declared

VARIABLE = "FACELLM_BACKEND_FOLDER"


@dataclass(frozen=True)
class Knowledge:
    """What is known of a server's models.

    Attributes:
        declared: What they were trained to tell.
        temperatures: {variant: {field key: temperature}}.
    """

    declared: Declared = field(default_factory=Declared)
    temperatures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def knowledge_in(place: str | Path) -> Knowledge:
    """Reads a model's folder, or one file.  Raises FaceLLMError where there is neither, or it cannot be read."""
    path = Path(place)
    if not path.exists():
        raise FaceLLMError(f"There is no folder or file {str(path)!r}; name the one with the model's calibration.json.")
    if path.is_dir():
        return Knowledge(read_declared(_json(path / "config.json"), path / "config.json"), read_calibration(path))
    return Knowledge(read_declared({METADATA: _json(path)}, path), read_calibration(path))


def knowledge_of(entries: Mapping[str, Mapping[str, Any]]) -> Knowledge:
    """Reads what lies beside the weights, where a server tells their folders (vLLM's `root`) and they are here.

    Args:
        entries: Of /v1/models, by variant.
    """
    told = {variant: Path(str(entry["root"])) for variant, entry in entries.items() if entry.get("root")}
    found = {variant: folder for variant, folder in told.items() if folder.is_dir()}
    declared, temperatures = Declared(), {}
    for variant, folder in sorted(found.items(), reverse=True):  # the base, read last, has the config.json
        if (folder / "config.json").is_file():
            declared = read_declared(_json(folder / "config.json"), folder / "config.json")
        own = read_calibration(folder).get(variant)
        shipped = found.get("base") and folder.is_relative_to(found["base"])
        beside = read_calibration(found["base"]).get(variant) if shipped else None
        temperatures[variant] = own or beside or {}
    return Knowledge(declared, temperatures)


def _json(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceLLMError(f"{path} cannot be read as JSON ({error}).") from None

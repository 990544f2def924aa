"""The questions and answers of nano's corpus that are pure lists, read from phrasebook.yaml beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PHRASES: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

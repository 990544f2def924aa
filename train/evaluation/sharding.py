"""Evaluation in parts: which questions a part holds, and putting the parts' replies together without loss.

Input: questions, folders of replies. Output: a share of the questions; one folder of replies. What this file does not
know: models, scores. Questions about one image stay in one part, so that it is encoded once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train import journal
from train.evaluation.answering import METHODS, Arm, Reply, read_replies
from train.evaluation.facexbench import Question

_ARM = re.compile(rf"(base|facellm)-({'|'.join(METHODS)})(?:-rotated(\d+))?(-blind)?")


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """ "2/4".  Raises FaceLLMError for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise FaceLLMError(f"--shard is {text!r}; give i/n with i from 1 to n, such as 2/4.")
        return cls(int(match[1]), int(match[2]))

    def share(self, questions: Sequence[Question], folder: Path) -> list[Question]:
        """The questions of this part: by a digest of the first image's path inside `folder`, the same everywhere."""
        kept = []
        for question in questions:
            image = os.path.relpath(question.images[0], folder.resolve()) if question.images else question.key
            digest = hashlib.sha256(image.replace(os.sep, "/").encode()).digest()
            if int.from_bytes(digest[:8], "big") % self.count == self.number - 1:
                kept.append(question)
        return kept


@dataclass(frozen=True)
class Merged:
    """settings: the parts' common ones.  arms: whose replies were found."""

    settings: dict[str, Any]
    arms: tuple[Arm, ...]


def merge(parts: Sequence[Path], out: Path) -> Merged:
    """Writes the parts' replies into `out`/replies, each question once.

    Raises FaceLLMError where a folder holds no run, where the parts' settings differ, or where two parts answered one
    question differently.
    """
    settings: dict[str, Any] | None = None
    found: dict[Arm, dict[str, Reply]] = {}
    for folder in parts:
        path = folder / journal.RUN
        if not path.is_file():
            raise FaceLLMError(f"{folder} holds no {journal.RUN}; give the --out folders of the parts.")
        own = json.loads(path.read_text(encoding="utf-8"))
        if settings is not None and own != settings:
            changed = sorted(k for k in set(own) | set(settings) if own.get(k) != settings.get(k))
            raise FaceLLMError(f"{folder} was asked otherwise than {parts[0]} (different: {', '.join(changed)}).")
        settings = own
        for file in sorted((folder / "replies").glob("*.jsonl")):
            match = _ARM.fullmatch(file.stem)
            if not match:
                continue
            arm = Arm(match[1], match[2], int(match[3] or 0), bool(match[4]))
            known = found.setdefault(arm, {})
            for key, reply in read_replies(file).items():
                if key in known and known[key].text != reply.text:
                    raise FaceLLMError(
                        f"{file} answers {key} with {reply.text!r}, another part with "
                        f"{known[key].text!r}; ask it again in one of them."
                    )
                known.setdefault(key, reply)
    if settings is None or not found:
        raise FaceLLMError("The folders given to --merge hold no replies.")
    (out / "replies").mkdir(parents=True, exist_ok=True)
    for arm, replies in found.items():
        path = out / "replies" / f"{arm.name}.jsonl"
        part = path.with_suffix(".part")
        lines = (json.dumps(asdict(reply), ensure_ascii=False) + "\n" for reply in replies.values())
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(path)
    return Merged(settings, tuple(found))


class NoOne:
    """An answerer for merged runs: whatever it would have to answer was answered by no part."""

    which: tuple[str, ...] = ()

    def answer(self, questions: Sequence[Question], arm: Arm) -> Iterator[Reply]:
        raise FaceLLMError(
            f"{len(questions)} questions of {arm.name} were answered by no part, the first is {questions[0].key}; run "
            "the missing part, or give its folder to --merge too."
        )

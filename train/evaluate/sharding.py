"""Evaluation in parts: which questions a part holds, and putting the parts' replies together without loss.

Questions about one image stay in one part, so that it is encoded once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train import journal
from train.evaluate.answering import METHODS, Arm, Reply, read_replies
from train.evaluate.facexbench import Question

_ARM = re.compile(rf"(base|facellm)-({'|'.join(METHODS)})(?:-rotated(\d+))?(-blind)?(?:-wording(\d+))?")


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
    """settings: the parts' common ones.  replies: of every arm that was found, by question."""

    settings: dict[str, Any]
    replies: Mapping[Arm, Mapping[str, Reply]]


def read_parts(parts: Sequence[Path], out: Path) -> Merged:
    """The parts' replies, and those that `out` holds already, each question once; an answer wins over a fault.

    Writes nothing. Raises FaceLLMError where a folder holds no run, where the parts' settings differ or `out` holds
    answers of others, or where two folders answered one question differently.
    """
    settings: dict[str, Any] = {}
    for folder in parts:
        own = journal.settings_of(folder)
        if own is None:
            raise FaceLLMError(f"{folder} holds no {journal.RUN}; give the --out folders of the parts.")
        settings = settings or own
        if changed := journal.differences(own, settings):
            raise FaceLLMError(f"{folder} was asked otherwise than {parts[0]} (different: {', '.join(changed)}).")
    journal.check(out, settings)
    folders = (*parts, out) if journal.settings_of(out) is not None else parts
    found: dict[Arm, dict[str, Reply]] = {}
    for folder in dict.fromkeys(folders):
        for file in sorted((folder / "replies").glob("*.jsonl")):
            match = _ARM.fullmatch(file.stem)
            if match:
                arm = Arm(match[1], match[2], int(match[3] or 0), bool(match[4]), int(match[5] or 0))
                _add(found.setdefault(arm, {}), read_replies(file), file)
    if not found:
        raise FaceLLMError("The folders given to --merge hold no replies.")
    return Merged(settings, found)


def _add(known: dict[str, Reply], replies: Mapping[str, Reply], file: Path) -> None:
    for key, reply in replies.items():
        before = known.get(key)
        if before is None or before.error is not None:
            known[key] = reply
        elif reply.error is None and reply.text != before.text:
            raise FaceLLMError(
                f"{file} answers {key} with {reply.text!r}, another part with {before.text!r}; ask it again in one of "
                "them."
            )


def write_merged(merged: Merged, out: Path) -> None:
    """The replies into `out`/replies, one file for each arm; what `out` held must be among them (`read_parts`)."""
    (out / "replies").mkdir(parents=True, exist_ok=True)
    for arm, replies in merged.replies.items():
        path = out / "replies" / f"{arm.name}.jsonl"
        part = path.with_suffix(".part")
        lines = (json.dumps(asdict(reply), ensure_ascii=False) + "\n" for reply in replies.values())
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(path)


class NoOne:
    """An answerer for merged runs: whatever it would have to answer was answered by no part."""

    variants: tuple[str, ...] = ()

    def answer(self, questions: Sequence[Question], arm: Arm) -> Iterator[Reply]:
        raise FaceLLMError(
            f"{len(questions)} questions of {arm.name} were answered by no part, the first is {questions[0].key}; run "
            "the missing part, or give its folder to --merge too."
        )

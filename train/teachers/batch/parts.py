"""The batches that are on their way, on disk: what each holds and how far it has come.

OUT/batches has NAME.jsonl, the file that is uploaded, and NAME.json, the state, replaced whole at every step, so that a
run that is killed goes on from there. NAME is random and goes to the server as the batch's metadata: one that was
submitted just before a kill is found again by it.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import PARTIAL, atomic_open, write_text
from train.faces.label_rows import LabelRow
from train.teachers.plan import Plan, data_url

FOLDER = "batches"
MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # OpenAI's limits of one file
ENDPOINT = "/v1/chat/completions"
METADATA = "facellm"  # the key under which a batch carries its name
WRITTEN, UPLOADED, SUBMITTING, SUBMITTED, FETCHED = "written", "uploaded", "submitting", "submitted", "fetched"


@dataclass(frozen=True)
class Request:
    """One line of a file. row: of the part's rows.  attempt: how many answers were paid for before."""

    row: int
    attribute: str
    question: str  # as it is stored
    request: str  # identity
    attempt: int

    @property
    def custom_id(self) -> str:
        return f"{self.request}-{self.attempt}"


@dataclass
class Part:
    """One batch. settings, prompt_version, price: as of the time when it was written; they may differ by now.

    dear: USD that it may cost at most.  rows: (line, file, age, gender, race, digest) each.
    """

    name: str
    settings: dict[str, Any]
    prompt_version: str
    price: list[float] | None
    dear: float
    rows: list[list[Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stage: str = WRITTEN
    input_file: str | None = None
    batch: str | None = None
    status: str | None = None  # the server's word, once it ended

    def label_row(self, request: Request) -> LabelRow:
        line, file, age, gender, race, digest = self.rows[request.row]
        return LabelRow(line, file, age, gender, race, Path(), digest)


class Parts:
    """The folder of one output's batches. `live`: all whose answers are not stored yet."""

    def __init__(self, out: Path) -> None:
        """Raises FaceLLMError for a state file that is damaged."""
        self.folder = out / FOLDER
        self.live: list[Part] = []
        for file in self.folder.glob(f"*{PARTIAL}*"):  # a kill came while it was written
            file.unlink()
        for file in sorted(self.folder.glob("*.json")):
            try:
                state = json.loads(file.read_text(encoding="utf-8"))
                requests = [Request(*values) for values in state.pop("requests")]
                self.live.append(Part(**state, requests=requests))
            except (ValueError, TypeError, KeyError) as error:
                raise FaceLLMError(
                    f"{file} is damaged ({error}), so its batch cannot be fetched; if nothing of it is on the server, "
                    "remove the file to ask its requests anew."
                ) from None
        names = {part.name for part in self.live}
        for file in self.folder.glob("*.*"):  # written when the process ended, before there was a state
            if file.name.split(".")[0] not in names:
                file.unlink()

    def path(self, part: Part, suffix: str) -> Path:
        return self.folder / f"{part.name}.{suffix}"

    def on_their_way(self) -> set[str]:
        """Identities of all requests in live batches."""
        return {request.request for part in self.live for request in part.requests}

    def write(
        self, plan: Plan, wanted: Iterable[tuple[LabelRow, list[tuple[Any, str, int]]]], left: float, most: int
    ) -> Part | None:
        """A new part from the first requests that fit, None where none does. Nothing is sent.

        wanted: rows with (attribute, identity, attempt).  left: USD.  most: requests.
        """
        price = plan.price
        part = Part(
            uuid.uuid4().hex,
            plan.settings.identity(),
            plan.prompt_version,
            [price.prompt, price.cached, price.answer] if price else None,
            0.0,
        )
        file = self.path(part, "jsonl")
        try:
            with atomic_open(file, "wb") as lines:
                for line, dear in self._lines(part, plan, wanted, left, most):
                    lines.write(line)
                    part.dear += dear
        except OSError as error:
            raise FaceLLMError(f"{file} cannot be written: {error.strerror}; free some space and run again.") from None
        if not part.requests:
            file.unlink()
            return None
        self.save(part)
        self.live.append(part)
        return part

    def _lines(
        self, part: Part, plan: Plan, wanted: Iterable[tuple[LabelRow, list]], left: float, most: int
    ) -> Iterator[tuple[bytes, float]]:
        size = spent = 0
        for row, open_requests in wanted:
            image = data_url(row.path, row.digest)
            part.rows.append([row.line, row.file, row.age, row.gender, row.race, row.digest])
            for attribute, request, attempt in open_requests:
                question = plan.prompt.question(attribute, row)
                made = Request(len(part.rows) - 1, attribute.key, attribute.question, request, attempt)
                body = plan.settings.body(plan.prompt.system, question, image, attempt)
                whole = {"custom_id": made.custom_id, "method": "POST", "url": ENDPOINT, "body": body}
                line = json.dumps(whole, ensure_ascii=False).encode() + b"\n"
                dear = plan.dearest(question)
                size, spent = size + len(line), spent + dear
                if len(part.requests) >= most or size > MOST_BYTES or spent > left:
                    return
                part.requests.append(made)
                yield line, dear

    def save(self, part: Part) -> None:
        state = dataclasses.asdict(part) | {"requests": [dataclasses.astuple(r) for r in part.requests]}
        write_text(self.path(part, "json"), json.dumps(state, ensure_ascii=False))

    def remove(self, part: Part) -> None:
        """Forgets a batch: all its answers are stored, or nothing was or will be paid for it."""
        self.live.remove(part)
        self.path(part, "json").unlink(missing_ok=True)  # first: what is left is then swept up
        for suffix in ("jsonl", "output.jsonl", "errors.jsonl"):
            self.path(part, suffix).unlink(missing_ok=True)

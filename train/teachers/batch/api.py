"""The calls of OpenAI's Batch API that a run needs, each tried again where that can help and is safe.

Uploading twice costs nothing; creating a batch twice would be paid twice, so where it is in doubt whether one was
created, the server's list is searched for its name first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.storage.files import atomic_open
from train.teachers.batch.parts import ENDPOINT, METADATA, Part
from train.teachers.faults import NoReply
from train.teachers.openai import Teacher, transport_errors

TRANSFER_SECONDS = 900.0  # for a whole file, up or down
_PAGE = 100  # batches in one answer of the list


class BatchApi:
    def __init__(self, teacher: Teacher) -> None:
        self._teacher, self._client = teacher, teacher.client

    async def upload(self, part: Part, file: Path) -> str:
        """The uploaded file's id.  Raises FaceLLMError where the server takes no files."""

        async def once() -> str:
            with file.open("rb") as content:
                call = self._client.files.with_raw_response.create(
                    file=(f"{METADATA}-{part.name}.jsonl", content), purpose="batch", timeout=TRANSFER_SECONDS
                )
                return str((await self._json(call, TRANSFER_SECONDS))["id"])

        return await self._final(once, "takes no batch files")

    async def submit(self, part: Part, doubt: bool) -> str:
        """The batch's id.  doubt: it may have been created before."""
        state = {"doubt": doubt}

        async def once() -> str:
            if state["doubt"] and (found := await self._find(part)):
                return found
            state["doubt"] = True  # should this try bring no answer
            call = self._client.batches.with_raw_response.create(
                input_file_id=part.input_file,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA: part.name},
            )
            return str((await self._json(call))["id"])

        return await self._final(once, "takes no batches")

    async def _find(self, part: Part) -> str | None:
        after: dict[str, str] = {}
        while True:
            page = await self._json(self._client.batches.with_raw_response.list(limit=_PAGE, **after))
            for batch in page.get("data") or ():
                if (batch.get("metadata") or {}).get(METADATA) == part.name:
                    return str(batch["id"])
            if not page.get("has_more") or not page.get("data"):
                return None
            after = {"after": page["data"][-1]["id"]}

    async def look(self, part: Part) -> dict[str, Any]:
        """The batch object; without a status where the server cannot be asked just now, for batches take long."""
        try:
            return await self._teacher.patiently(
                lambda: self._json(self._client.batches.with_raw_response.retrieve(part.batch))
            )
        except NoReply as fault:
            if fault.again:
                return {}
            raise FaceLLMError(
                f"The server does not know batch {part.batch} any more ({fault}), so its answers are lost; remove "
                f"{part.name}.json from the folder of the batches to ask its requests anew."
            ) from None

    async def cancel(self, part: Part) -> None:
        try:
            await self._teacher.patiently(lambda: self._json(self._client.batches.with_raw_response.cancel(part.batch)))
        except NoReply as fault:
            if fault.again:
                raise FaceLLMError(f"Batch {part.batch} could not be cancelled ({fault}); run it again.") from None
            # it ended in the meantime

    async def fetch(self, file_id: str, target: Path) -> int:
        """Writes a file of the server, under a temporary name until it is whole and on the disk; its lines' number."""

        async def stream() -> int:
            number = 0
            with atomic_open(target, "w+b") as file:
                async with self._client.files.with_streaming_response.content(
                    file_id, timeout=TRANSFER_SECONDS
                ) as response:
                    async for block in response.iter_bytes():
                        file.write(block)
                file.seek(0)
                for number, line in enumerate(file, 1):  # noqa: B007
                    if not isinstance(json.loads(line), dict):
                        raise ValueError
            return number

        async def once() -> int:
            try:
                return await self._teacher.call(stream(), TRANSFER_SECONDS)
            except transport_errors() as error:
                raise NoReply("connection", str(error) or type(error).__name__) from None
            except ValueError:
                raise NoReply("malformed", f"file {file_id} is not JSON lines") from None

        return await self._final(once, f"does not give file {file_id}")

    async def _json(self, call: Any, timeout: float | None = None) -> dict[str, Any]:
        response = await self._teacher.call(call, timeout)
        try:
            data = json.loads(response.content)
            if not isinstance(data, dict):
                raise TypeError
            return data
        except (ValueError, TypeError):
            raise NoReply("malformed", f"not an object: {response.content[:80]!r}") from None

    async def _final(self, once: Any, what: str) -> Any:
        try:
            return await self._teacher.patiently(once)
        except KeyError as error:
            raise FaceLLMError(f"The server's answer has no {error}; it does not speak the Batch API.") from None
        except NoReply as fault:
            raise FaceLLMError(
                f"The server {what} ({self._teacher.clean(fault)}); nothing is lost here: run the same command again, "
                "or without --batch once no batch is on its way."
            ) from None

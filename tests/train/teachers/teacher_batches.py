"""The batch half of the test server: files, batches, results; misbehaves on order like the other half."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

ENDED = ("completed", "failed", "expired", "cancelled")


class Batches:
    """`behave(event, number)` says what happens to the number-th call of an event (upload, create, list, retrieve,
    content, cancel): None for a good answer; ("status", code, body); ("lost",): it is done, but no answer comes;
    ("raw", bytes). `outcome(batch)` says how a batch ends: "completed", ("expired" or "cancelled", lines that were
    done), or ("failed", errors). `show(batch)` is what a look at one says.
    """

    def __init__(self, run_line: Callable[[dict], tuple[int, dict]], looks: int = 1) -> None:
        """run_line: body -> (status, response body).  looks: retrievals for which a batch stays in progress."""
        self.run_line, self.looks = run_line, looks
        self.behave: Callable[[str, int], tuple | None] = lambda event, number: None
        self.outcome: Callable[[dict], object] = lambda batch: "completed"
        self.show: Callable[[dict], dict] = lambda batch: batch
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, dict] = {}
        self.events: Counter = Counter()

    def handle(self, method: str, path: str, headers, raw: bytes, query: dict) -> tuple:
        """("status", code, body), ("lost",) or ("raw", bytes)."""
        parts = path.removeprefix("/v1/").split("/")
        event, action = {
            ("POST", "files", 1): ("upload", lambda: self._upload(headers, raw)),
            ("GET", "files", 3): ("content", lambda: self._content(parts[1])),
            ("POST", "batches", 1): ("create", lambda: self._create(json.loads(raw))),
            ("GET", "batches", 1): ("list", lambda: self._list(query)),
            ("GET", "batches", 2): ("retrieve", lambda: self._retrieve(parts[1])),
            ("POST", "batches", 3): ("cancel", lambda: self._cancel(parts[1])),
        }.get((method, parts[0], len(parts)), (None, None))
        if event is None:
            return "status", 404, {"error": {"message": "no such path"}}
        self.events[event] += 1
        order = self.behave(event, self.events[event])
        if order and order[0] != "lost":
            return order
        done = action()
        return order or done

    def _upload(self, headers, raw: bytes) -> tuple:
        boundary = b"--" + headers["Content-Type"].split("boundary=")[1].encode()
        fields = {}
        for piece in raw.split(boundary)[1:-1]:
            head, _, content = piece[2:-2].partition(b"\r\n\r\n")
            name = head.split(b'name="')[1].split(b'"')[0].decode()
            fields[name] = content
            if name == "file":
                fields["filename"] = head.split(b'filename="')[1].split(b'"')[0]
        assert fields["purpose"] == b"batch" and len(fields["file"]) <= 200_000_000
        name = f"file-{len(self.files)}"
        self.files[name] = (fields["filename"].decode(), fields["file"])
        return "status", 200, {"id": name, "object": "file", "bytes": len(fields["file"])}

    def _content(self, name: str) -> tuple:
        if name not in self.files:
            return "status", 404, {"error": {"message": "no such file"}}
        return "raw", self.files[name][1]

    def _create(self, body: dict) -> tuple:
        assert body["endpoint"] == "/v1/chat/completions" and body["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[body["input_file_id"]][1].splitlines()]
        assert 0 < len(lines) <= 50_000 and len({line["custom_id"] for line in lines}) == len(lines)
        name = f"batch-{len(self.batches)}"
        batch = {"id": name, "object": "batch", "status": "validating", "metadata": body.get("metadata")}
        batch |= {"request_counts": {"total": len(lines), "completed": 0, "failed": 0}}
        self.batches[name] = batch | {"_lines": lines, "_looks": 0}
        return "status", 200, batch

    def _list(self, query: dict) -> tuple:
        names = sorted(self.batches, key=lambda name: -int(name.split("-")[1]))  # newest first, two a page
        start = names.index(query["after"][0]) + 1 if "after" in query else 0
        page = names[start : start + 2]
        data = [_shown(self.batches[name]) for name in page]
        return "status", 200, {"object": "list", "data": data, "has_more": start + 2 < len(names)}

    def _retrieve(self, name: str) -> tuple:
        if name not in self.batches:
            return "status", 404, {"error": {"message": "no such batch"}}
        batch = self.batches[name]
        batch["_looks"] += 1
        if batch["status"] not in ENDED:
            batch["status"] = "in_progress"
            if batch["_looks"] > self.looks:
                self._end(batch, self.outcome(batch))
        return "status", 200, self.show(_shown(batch))

    def _cancel(self, name: str) -> tuple:
        batch = self.batches[name]
        if batch["status"] in ENDED:
            return "status", 409, {"error": {"message": "it has ended"}}
        batch["status"] = "cancelling"
        self._end(batch, ("cancelled", len(batch["_lines"]) // 2))
        return "status", 200, _shown(batch)

    def _end(self, batch: dict, how) -> None:
        how, detail = how if isinstance(how, tuple) else (how, len(batch["_lines"]))
        batch["status"] = how
        if how == "failed":
            batch["errors"] = {"object": "list", "data": detail}
            return
        output, errors = [], []
        for place, line in enumerate(batch["_lines"]):
            made = {"id": f"r{place}", "custom_id": line["custom_id"], "response": None, "error": None}
            if place >= detail:
                made["error"] = {"code": f"batch_{how}", "message": "This request was not executed."}
                errors.append(made)
                continue
            status, body = self.run_line(line["body"])
            made["response"] = {"status_code": status, "request_id": f"q{place}", "body": body}
            (output if status == 200 else errors).append(made)
        for key, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                batch[key] = f"file-{len(self.files)}"
                text = "".join(json.dumps(line) + "\n" for line in reversed(lines))  # not in the order of the input
                self.files[batch[key]] = ("results.jsonl", text.encode())
        counts = {"total": len(batch["_lines"]), "completed": len(output), "failed": len(errors)}
        batch["request_counts"] = counts


def _shown(batch: dict) -> dict:
    return {key: value for key, value in batch.items() if not key.startswith("_")}

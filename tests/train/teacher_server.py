"""A local server that speaks enough of the OpenAI API to be asked about images, and misbehaves on order."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from facellm.attributes import ATTRIBUTES

ANSWERS = {
    "demographic": "The face belongs to the age group that the picture suggests, and the features agree with it in "
    "every respect that can be judged.",
    "structure": "An oval outline with a rounded jaw is seen, the cheekbones are soft and the nose is straight with a "
    "narrow bridge and a broad tip.",
    "skin": "Smooth skin with an even tone covers the forehead; small pores are visible on the nose, and no marks or "
    "scars stand out anywhere.",
    "expression": "The mouth is closed with level corners while the brows are relaxed, which suggests a calm and "
    "neutral mood at this moment.",
    "lighting": "Soft light falls from the front, shadows are faint, the exposure is balanced and the picture is a "
    "little blurred near its edges.",
    "pose": "The head is turned slightly to one side, the chin is level, and the eyes look straight into the camera "
    "from a short distance.",
    "forensic": "All landmarks can be examined because nothing covers them, although the low resolution limits a "
    "comparison of the finer details.",
    "detail": "A close view of one person fills the frame before a plain background, with short hair, a dark collar "
    "and a calm look in the eyes.",
}
BY_QUESTION = {attribute.question: attribute.key for attribute in ATTRIBUTES}


class Asked(dict):
    """One request: attribute, image (digest of the file), question, number (counted per question), order (of all)."""


class _Server(ThreadingHTTPServer):
    # The library's 5 drops connections when a busy machine accepts late: the client then sees them reset.
    request_queue_size = 1024
    daemon_threads = True


class TeacherServer:
    """`behave(asked)` says what happens: None for a good answer, or
    ("status", code, error body, headers), ("hang", seconds), ("cut",), ("raw", bytes, content type),
    ("message", message, finish reason), ("usage", prompt tokens, completion tokens).
    """

    def __init__(self, models=("gpt-4o-2024-11-20", "gpt-4o-mini"), delay: float = 0.0) -> None:
        self.behave: Callable[[Asked], tuple | None] = lambda asked: None
        self.models, self.delay = models, delay
        self.requests: list[dict] = []  # bodies, as they came
        self.keys_asked: list[tuple[str, str]] = []  # (image, attribute) of each
        self.good: Counter = Counter()  # (image, attribute) -> answers sent in full
        self.tries: Counter = Counter()
        self.keys: set[str] = set()
        self.busy = self.most_busy = 0
        self.headers: dict[str, str] = {}
        self._lock, self.over = threading.Lock(), threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def send(self, status, body, headers=(), kind="application/json"):
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def do_GET(self):
                if outer.models is None:
                    self.send(404, {"error": {"message": "no such path"}})
                else:
                    self.send(200, {"object": "list", "data": [{"id": name} for name in outer.models]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.keys.add(self.headers.get("Authorization", ""))
                with outer._lock:
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                try:
                    outer._answer(self, body)
                except (BrokenPipeError, ConnectionResetError):  # the client was killed or gave up
                    self.close_connection = True
                finally:
                    with outer._lock:
                        outer.busy -= 1

        return Handler

    def _answer(self, handler, body) -> None:
        text, image = body["messages"][1]["content"]
        kind, data = image["image_url"]["url"].split(";base64,")
        raw = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(raw)) as opened:
            opened.load()
            assert kind == f"data:image/{opened.format.lower()}"
        attribute = BY_QUESTION[text["text"].split("\n")[0]]
        key = (hashlib.sha256(raw).hexdigest(), attribute)
        with self._lock:
            self.requests.append(body)
            self.keys_asked.append(key)
            self.tries[key] += 1
            asked = Asked(
                attribute=attribute,
                image=key[0],
                question=text["text"],
                number=self.tries[key],
                order=len(self.requests),
            )
        what = self.behave(asked) or ("message", {"content": ANSWERS[attribute]}, "stop")
        if self.delay:
            time.sleep(self.delay)
        if what[0] == "status":
            handler.send(what[1], what[2], what[3] if len(what) > 3 else ())
        elif what[0] == "hang":
            self.over.wait(what[1])
            handler.close_connection = True
        elif what[0] == "cut":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"id": "x", "choi')
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(2)
        elif what[0] == "raw":
            handler.send(200, what[1], kind=what[2])
        else:
            handler.send(200, completion(body["model"], what[1], what[2]), self.headers)
            with self._lock:
                self.good[key] += 1


def completion(model: str, message: dict, finish_reason: str) -> dict:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }


def write_faces(folder: Path, number: int, rows: list[dict] | None = None) -> Path:
    """`number` little images in the folder `val`, and FairFace's label file beside them; returns the label file."""
    ages, races = ("20-29", "3-9", "40-49"), ("White", "East Asian", "Latino_Hispanic")
    (folder / "val").mkdir(parents=True)
    written = []
    for i in range(1, number + 1):
        colour = (40 + 7 * i % 200, 90, 255 - 11 * i % 250)
        Image.new("RGB", (24, 24), colour).save(folder / "val" / f"{i}.jpg")
        gender = "Male" if i % 2 else "Female"
        written.append({"file": f"val/{i}.jpg", "age": ages[i % 3], "gender": gender, "race": races[i % 3]})
    for place, change in enumerate(rows or ()):
        written[place] |= change
    file = folder / "fairface_label_val.csv"
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, ["file", "age", "gender", "race", "service_test"])
        table.writeheader()
        table.writerows({**row, "service_test": "True"} for row in written)
    return file

"""A local server that speaks enough of the OpenAI API to be asked about images, and misbehaves on order."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from facellm.attributes import ATTRIBUTES
from tests.train.teachers.teacher_batches import Batches

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
DETAIL = "Describe this image."


def attribute_of(text: str) -> str:
    """Key of the attribute that our prompt, or FairFaceGPT's, asks about."""
    asked = text.split("\n")[0]
    if asked in BY_QUESTION:
        return BY_QUESTION[asked]
    aspect = re.search(r"Describe only the (.+?) of the image and", asked)
    return BY_QUESTION[f"Describe the {aspect[1]} of the image based on the visual information." if aspect else DETAIL]


class Asked(dict):
    """One request: attribute, image (digest of the file), question, number (counted per question), order (of all)."""


class _Server(ThreadingHTTPServer):
    # The library's 5 drops connections when a busy machine accepts late: the client then sees them reset.
    request_queue_size = 1024
    daemon_threads = True


class TeacherServer:
    """`behave(asked)` says what happens: None for a good answer, or
    ("status", code, error body, headers), ("hang", seconds), ("cut",), ("raw", bytes, content type),
    ("message", message, finish reason). The same goes for the lines of batches (`batches`), where only messages,
    statuses and raw bytes of JSON make sense.
    """

    def __init__(self, models=("gpt-4o-2024-11-20", "gpt-4o-mini"), delay: float = 0.0) -> None:
        self.behave: Callable[[Asked], tuple | None] = lambda asked: None
        self.models, self.delay = models, delay
        self.shutdown: dict[str, str] = {}  # model -> date
        self.last_words: dict[str, str] = {}  # model -> what is said of one that is gone
        self.requests: list[dict] = []  # bodies, as they came
        self.keys_asked: list[tuple[str, str]] = []  # (image, attribute) of each
        self.good: Counter = Counter()  # (image, attribute) -> answers sent in full
        self.faults: Counter = Counter()  # kind of action -> times that it was taken
        self.tries: Counter = Counter()
        self.keys: set[str] = set()
        self.busy = self.most_busy = 0
        self.headers: dict[str, str] = {}
        self.batches = Batches(self._run_line)
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
                path = urlsplit(self.path).path
                if path.startswith("/v1/models"):
                    self.send(*outer._model_answer(path.removeprefix("/v1/models").strip("/")))
                else:
                    self._batches("GET", b"")

            def do_POST(self):
                outer.keys.add(self.headers.get("Authorization", ""))
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if urlsplit(self.path).path != "/v1/chat/completions":
                    self._batches("POST", raw)
                    return
                with outer._lock:
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                try:
                    outer._answer(self, json.loads(raw))
                except (BrokenPipeError, ConnectionResetError):  # the client was killed or gave up
                    self.close_connection = True
                finally:
                    with outer._lock:
                        outer.busy -= 1

            def _batches(self, method, raw):
                url = urlsplit(self.path)
                what = outer.batches.handle(method, url.path, self.headers, raw, parse_qs(url.query))
                if what[0] == "lost":
                    self.close_connection = True
                elif what[0] == "raw":
                    self.send(200, what[1], kind="application/octet-stream")
                else:
                    self.send(*what[1:])

        return Handler

    def _model_answer(self, name: str) -> tuple[int, dict]:
        if self.models is None:
            return 404, {"error": {"message": "no such path"}}
        if name:
            return 404, {"error": {"message": self.last_words.get(name, ""), "code": "model_not_found"}}
        listed = [{"id": model, "shutdown_date": self.shutdown.get(model)} for model in self.models]
        return 200, {"object": "list", "data": listed}

    def _receive(self, body: dict) -> tuple[Asked, tuple[str, str]]:
        """Checks that the image is one, and notes the request."""
        text, image = body["messages"][1]["content"]
        kind, data = image["image_url"]["url"].split(";base64,")
        raw = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(raw)) as opened:
            opened.load()
            assert kind == f"data:image/{opened.format.lower()}"
        attribute = attribute_of(text["text"])
        key = (hashlib.sha256(raw).hexdigest(), attribute)
        with self._lock:
            self.requests.append(body)
            self.keys_asked.append(key)
            self.tries[key] += 1
            number, order = self.tries[key], len(self.requests)
        asked = Asked(attribute=attribute, image=key[0], question=text["text"], number=number, order=order)
        return asked, key

    def _run_line(self, body: dict) -> tuple[int, dict]:
        """A batch's line."""
        asked, key = self._receive(body)
        what = self.behave(asked) or ("message", {"content": ANSWERS[asked["attribute"]]}, "stop")
        if what[0] == "message":
            self.good[key] += 1
            return 200, completion(body["model"], what[1], what[2])
        self.faults[what[0]] += 1
        return (what[1], what[2]) if what[0] == "status" else (200, json.loads(what[1]))

    def _answer(self, handler, body) -> None:
        asked, key = self._receive(body)
        what = self.behave(asked) or ("message", {"content": ANSWERS[asked["attribute"]]}, "stop")
        if self.delay:
            time.sleep(self.delay)
        if what[0] != "message":
            with self._lock:
                self.faults[what[0]] += 1
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

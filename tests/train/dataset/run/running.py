"""What the runs of `train dataset` share: arguments, and what they leave."""

from __future__ import annotations

import json

KEY = "sk-test-not-a-real-key"


def arguments(server, faces, out, *more):
    return ["--images", str(faces), "--out", str(out), "--base-url", server.url, "--val", "0", *map(str, more)]


def records(out, kind=None):
    """Whole lines of the store; a line that a kill tore is left out."""
    lines = (out / "answers.jsonl").read_bytes().split(b"\n")[:-1]
    return [record for record in map(json.loads, lines) if kind in (None, record["kind"])]


def stored(out):
    """(image's digest, attribute) of every answer on disk."""
    return [(record["digest"], record["attribute"]) for record in records(out, "answer")]

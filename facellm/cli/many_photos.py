"""Many photos: asked about together, a row each, in a table that is whole or not there.

Photos are read and searched for faces in threads while the model works. Profiles are scored many to a pass; answers in
words share the engine's batch, which the photos of all threads join.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from facellm import policy
from facellm.cli.kept_rows import KeptRows
from facellm.cli.photo_paths import Photo, find_photos
from facellm.cli.progress import Progress
from facellm.cli.quiet import quiet
from facellm.cli.request import Asked, open_chosen, read_request
from facellm.cli.tables import check_kind
from facellm.errors import FaceLLMError
from facellm.storage.files import text_digest
from facellm.storage.writable import usable_file

if TYPE_CHECKING:
    from facellm.engine.sampling import Sampling
    from facellm.interface import Questions
    from facellm.profile import Field, Profile
    from facellm.typed.question import TypedQuestion
    from facellm.vision.faces import FaceView

T = TypeVar("T")
U = TypeVar("U")
READERS = max(1, min(4, os.cpu_count() or 1))  # threads that read photos
AHEAD = 16  # photos read before the model asks for them
CHUNK = 32  # photos whose profiles are scored together: what a kill can lose
CHUNK_BYTES = 128 * 2**20  # of their pixels: whole images of 2,048 px a side take 12 MB each
SEQUENCES = 32  # answers in words that are written at once
MODEL = ("base", "facellm", "quantization", "revision", "base_revision")  # of a report: what tells models apart

PLACE = (
    ("file", "text"), ("image_width", "int"), ("image_height", "int"), ("faces", "int"), ("face_left", "float"),
    ("face_top", "float"), ("face_right", "float"), ("face_bottom", "float"), ("face_score", "float"),
)  # fmt: skip
REMARKS = (("notice", "text"), ("error", "text"))
AGE = ("age_years", "age_low", "age_high")


class Seen(NamedTuple):
    """A photo that was read: what the model will be shown of it, or why it cannot be used."""

    photo: Photo
    stamp: list[int] | None
    view: FaceView | None
    error: str | None


class Row(NamedTuple):
    """What is kept of a photo: its stamp from before it was read, and the table's row."""

    photo: Photo
    stamp: list[int] | None
    values: dict[str, Any]


def run_many(args: argparse.Namespace) -> int:
    """Asks about all photos of a command line and writes the table.

    Args:
        args: The parsed command line, with `out`.

    Returns:
        0, or 1 where some photos could not be used.

    Raises:
        FaceLLMError: For what the user can mend; the answers so far are kept, and the same command goes on.
    """
    asked = read_request(args)
    table = Path(args.out)
    check_kind(table)
    if args.json:
        raise FaceLLMError("--json prints one photo's answers; leave it out beside --out.")
    if args.command == "ask" and Path(args.question).is_file():
        raise FaceLLMError(f"The last argument is the question, but {args.question!r} is a file; add the question.")
    photos = find_photos(args.image)
    usable_file(table)
    with KeptRows(table, _settings(args, asked)) as kept:
        if missing := kept.missing(photos):
            _ask(args, asked, kept, missing, len(photos))
        failed = kept.finish(photos)
    some = f"; {failed} could not be used, see the column error" if failed else ""
    print(f"facellm: {table} has {len(photos)} photo{'s' * (len(photos) != 1)}{some}.", file=sys.stderr)
    return 1 if failed else 0


def _settings(args: argparse.Namespace, asked: Asked) -> dict[str, Any]:
    """What decides the answers, by the names of the options."""
    model = asdict(asked.options)
    if url := model["backend_url"]:
        model["backend_url"] = text_digest(url)  # it may hold a password
    rest = ("face", "whole_image", "base", "only_facellm", "system")
    return {
        "command": args.command,
        "questions": asked.questions,
        "sensitive": asked.sensitive,
        "tiles": asked.tiles,
        **asked.sampling,
        **({"typed": [q if isinstance(q, str) else q.to_dict() for q in asked.typed]} if asked.typed else {}),
        **model,
        **{name: getattr(args, name, None) for name in rest},
    }


def columns(asked: Asked, command: str, fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Returns the table's columns with their types.  fields: the profile's, as the model tells them."""
    if command == "profile":
        own = []
        for field in fields:
            own += [(field.key, "text"), (f"{field.key}_probability", "float")]
            own += [(name, "float") for name in AGE if field.key == "age_group"]
        own.append(("calibrated", "bool"))
        for question in asked.typed:
            name = question if isinstance(question, str) else question.name
            own += [(name, "text"), (f"{name}_probability", "float"), (f"{name}_calibrated", "bool")]
    else:
        asking = [("question", "text")] if command == "ask" else []
        own = [*asking, *((key or "answer", "text") for key, _ in asked.questions), ("cut_off", "int")]
    return [*PLACE, *own, *REMARKS]


def _ask(args: argparse.Namespace, asked: Asked, kept: KeptRows, missing: Sequence[Photo], total: int) -> None:
    quiet(args.verbose, notes=True)
    from facellm.interface import make_sampling

    sampling = make_sampling(None, asked.sampling)
    model = open_chosen(args, asked.options)
    report = model.report.to_dict()
    about = {name: report[name] for name in MODEL if report.get(name) is not None}
    kept.begin(about, columns(asked, args.command, model.fields))
    variant = "base" if args.base else model.variants[-1]
    with ThreadPoolExecutor(READERS) as readers, Progress(total, total - len(missing)) as progress:

        def read(photo: Photo) -> Seen:
            stamp = photo.stamp()
            if photo.fault:
                return Seen(photo, stamp, None, photo.fault)
            try:
                return Seen(photo, stamp, model.view(photo.path, args.face, args.whole_image), None)
            except FaceLLMError as error:
                return Seen(photo, stamp, None, str(error))

        seen = _in_order(readers, read, missing)
        if args.command == "profile":
            rows = _profiled(model, variant, asked.typed, seen)
        else:
            rows = _answered(model, variant, asked, args.system, sampling, seen)
        with closing(seen), closing(rows):  # so that a fault ends all threads at once
            for photo, stamp, values in rows:
                kept.add(photo, stamp, values)
                progress.add(values.get("error") is not None)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[T], U], items: Iterable[T]) -> Generator[U, None, None]:
    """Yields the results in the items' order, at most AHEAD of them before they are wanted."""
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _profiled(
    model: Questions, variant: str, typed: Sequence[TypedQuestion | str], seen: Iterable[Seen]
) -> Generator[Row, None, None]:
    chunk: list[Seen] = []
    size = 0
    for one in seen:
        if one.view is None:
            yield _failed(one)
            continue
        chunk.append(one)
        size += 3 * one.view.image.width * one.view.image.height
        if len(chunk) >= CHUNK or size >= CHUNK_BYTES:
            yield from _profile_chunk(model, variant, typed, chunk)
            chunk, size = [], 0
    if chunk:
        yield from _profile_chunk(model, variant, typed, chunk)


def _profile_chunk(
    model: Questions, variant: str, typed: Sequence[TypedQuestion | str], chunk: Sequence[Seen]
) -> Iterator[Row]:
    try:
        profiles = model.profile_many([one.view for one in chunk], variant)
    except FaceLLMError as error:
        from facellm.engine.scheduler import MemoryFullError

        if not isinstance(error, MemoryFullError) or len(chunk) == 1:
            raise
        half = len(chunk) // 2
        for part in (chunk[:half], chunk[half:]):
            yield from _profile_chunk(model, variant, typed, part)
        return
    for one, profile in zip(chunk, profiles, strict=True):
        values = _profile_values(profile)
        for choice in model.choose(one.view, typed, (variant,))[variant] if typed else ():
            values |= {
                choice.name: choice.best,
                f"{choice.name}_probability": round(choice.probabilities[choice.best], 6),
                f"{choice.name}_calibrated": choice.calibrated,
            }
        yield Row(one.photo, one.stamp, {**_place(one.view), **values})


def _profile_values(profile: Profile) -> dict[str, Any]:
    from facellm.profile import age_estimate

    values: dict[str, Any] = {"calibrated": profile.calibrated}
    for key, labels in profile.fields.items():
        best = profile.best(key)
        values |= {key: best, f"{key}_probability": round(labels[best], 6)}
        if key == "age_group":
            values |= dict(zip(AGE, (round(years, 1) for years in age_estimate(labels)), strict=True))
    return values


def _answered(
    model: Questions, variant: str, asked: Asked, system: str | None, sampling: Sampling, seen: Iterable[Seen]
) -> Generator[Row, None, None]:
    """Rows in the order in which photos are done."""
    from facellm.results import Row as Question

    questions = [Question(variant, question, system=system, key=key) for key, question in asked.questions]
    cancel = threading.Event()

    def answer(one: Seen) -> Row:
        if one.view is None:
            return _failed(one)
        values: dict[str, Any] = {"cut_off": 0}
        for delta in model.stream(one.view, questions, sampling, cancel, asked.tiles):
            if delta.answer is not None:
                text = policy.visible(delta.answer.text, asked.sensitive).strip()
                key, question = asked.questions[delta.row]
                values |= {key: text} if key else {"question": question, "answer": text}
                values["cut_off"] += delta.answer.finish_reason == "length"
        return Row(one.photo, one.stamp, {**_place(one.view), **values})

    # One more than fit, so that the next is ready when a place becomes free.
    at_once = max(2, SEQUENCES // len(questions) + 1)
    with ThreadPoolExecutor(at_once) as pool:
        running: set[Future[Row]] = set()
        try:
            for one in seen:
                running.add(pool.submit(answer, one))
                if len(running) >= at_once:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            cancel.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _failed(one: Seen) -> Row:
    return Row(one.photo, one.stamp, {"error": one.error})


def _place(view: FaceView | None) -> dict[str, Any]:
    """The columns PLACE but for the file, and the notice."""
    assert view is not None
    width, height = view.image_size or view.image.size
    searched = bool(view.faces or view.notice)  # a search that finds none leaves a notice
    values: dict[str, Any] = {
        "image_width": width, "image_height": height, "faces": len(view.faces) if searched else None
    }  # fmt: skip
    if view.face is not None:
        face = view.face.to_dict()
        values |= dict(zip(("face_left", "face_top", "face_right", "face_bottom"), face["box"], strict=True))
        values["face_score"] = face["score"]
    return {**values, "notice": view.notice}

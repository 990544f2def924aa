"""FaceXBench's files: reading them with every fault named, and writing predictions that its own scripts read.

A folder holds JSON files as published (`category`, `sub-category`, `num_images`, `prepend_text`, `postpend_text`,
sometimes `context`, and `questions` by id), with image paths relative to it. Whatever cannot be scored is left out with
a sentence that names file and question; the rest is still scored. Images are opened here once, because a harness that
passes on a path that does not exist measures a model that is blind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from train.evaluate.prompts import LETTERS

# The 14 sub-tasks in their 6 categories, in the paper's order.
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "bias_fairness": ("age", "gender", "race"),
    "attributes_expression": ("expression", "attributes"),
    "face_localization": ("headpose", "segmentation", "crowd_counting"),
    "face_recognition": ("hr_fr", "lr_fr", "celebrity_identification"),
    "fas_deepfakes": ("fas", "deepfakes"),
    "tools_use": ("tools_retrieval",),
}
CATEGORY_OF = {task: category for category, tasks in CATEGORIES.items() for task in tasks}
TEXTS = ("prepend_text", "postpend_text", "context")


@dataclass(frozen=True)
class Question:
    """One question. key: "file.json#id".  images: in order, may be empty.  correct: the letter that scores.
    answer: the right option's text, None where the file gives none.  texts: the file's `TEXTS`."""

    key: str
    file: str
    id: str
    category: str
    task: str
    num_images: str
    images: tuple[Path, ...]
    text: str
    options: tuple[str, ...]
    correct: str
    answer: str | None
    texts: Mapping[str, str]

    @property
    def right(self) -> str:
        """The text of the right option."""
        return self.options[LETTERS.index(self.correct)]


@dataclass(frozen=True)
class Benchmark:
    """questions: what can be asked.  problems: sentences on what was left out.  notes: sentences on oddities that
    were kept.  files: the JSON as read, by name, for writing predictions.  digest: of the JSON files."""

    folder: Path
    questions: tuple[Question, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    files: Mapping[str, dict[str, Any]] = field(repr=False)
    digest: str = ""


def read(folder: str | Path) -> Benchmark:
    """Every question of the folder that can be scored; every image is opened once.

    Raises FaceLLMError when the folder is missing, holds no JSON file, or nothing in it can be scored.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FaceLLMError(f"There is no folder {folder}; give the folder that holds the benchmark's JSON files.")
    paths = sorted(p for p in folder.glob("*.json") if not p.name.startswith("."))
    if not paths:
        raise FaceLLMError(f"{folder} holds no JSON file; give FaceXBench's `benchmark/` folder or one made like it.")
    reader = _Reader(folder)
    digest = hashlib.sha256()
    for path in paths:
        raw = path.read_bytes()
        digest.update(path.name.encode() + b"\0" + raw)
        reader.file(path, raw)
    if not reader.questions:
        why = f" The first fault: {reader.problems[0]}" if reader.problems else ""
        raise FaceLLMError(f"Nothing in {folder} can be scored.{why}")
    return Benchmark(
        folder, tuple(reader.questions), tuple(reader.problems), tuple(reader.notes), reader.files, digest.hexdigest()
    )


class _Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.questions: list[Question] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.files: dict[str, dict[str, Any]] = {}
        self._opened: dict[Path, str | None] = {}

    def file(self, path: Path, raw: bytes) -> None:
        try:
            data = json.loads(raw)
        except ValueError as error:
            self.problems.append(f"{path.name} is not JSON ({error}); the file is left out.")
            return
        questions = data.get("questions") if isinstance(data, dict) else None
        if not isinstance(questions, dict):
            self.problems.append(
                f"{path.name} is not of FaceXBench's form (an object with `questions` by id); the file is left out."
            )
            return
        task = data.get("sub-category")
        if not isinstance(task, str) or task not in CATEGORY_OF:
            self.problems.append(
                f"{path.name} is of the sub-task {task!r}, none of the 14 that are known; the file is left out."
            )
            return
        category = CATEGORY_OF[task]
        if data.get("category") != category:
            self.notes.append(
                f"{path.name} gives the category {data.get('category')!r}, but {task} belongs to {category} and is "
                f"counted there."
            )
        if not questions:
            self.problems.append(f"{path.name} holds no question; the file is left out.")
        self.files[path.name] = data
        texts = {name: data[name] for name in TEXTS if isinstance(data.get(name), str)}
        number = str(data.get("num_images", "unknown"))
        # The published harness puts `context` into the prompt for this category alone.
        if category != "tools_use":
            texts.pop("context", None)
        for name, question in questions.items():
            fault = self._question(path.name, str(name), question, category, task, number, texts)
            if fault:
                self.problems.append(f"{path.name}, question {name}: {fault}; the question is left out.")

    def _question(self, file, name, question, category, task, number, texts) -> str | None:
        """Adds the question, or says what is wrong with it."""
        if not isinstance(question, dict):
            return "it is not an object"
        text, options = question.get("question_text"), question.get("options")
        if not isinstance(text, str) or not text.strip():
            return "it has no `question_text`"
        if not isinstance(options, list) or not 2 <= len(options) <= len(LETTERS):
            return f"its `options` are not a list of 2 to {len(LETTERS)}"
        correct = question.get("correct_answer_option")
        if not isinstance(correct, str) or correct not in tuple(LETTERS[: len(options)]):
            return f"its `correct_answer_option` is {correct!r}, which is none of its {len(options)} options"
        paths = question.get("image_paths", [])
        if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
            return "its `image_paths` are not a list of paths"
        images = []
        for given in paths:
            path, fault = self._image(given)
            if fault is None:
                images.append(path)
            elif number == "zero":  # the black picture of the text-only questions is decoration
                self.notes.append(f"{file}, question {name}: {fault}; it needs none and is asked without.")
            else:
                return fault
        if not paths and number != "zero":
            return "it names no image"
        options = tuple(str(option) for option in options)
        answer = None if question.get("answer") is None else str(question["answer"])
        right = options[LETTERS.index(correct)]
        if answer is not None and answer != right:
            self.notes.append(
                f"{file}, question {name}: the answer {answer!r} is not what stands at ({correct}), {right!r}; "
                f"the letter is scored."
            )
        self.questions.append(
            Question(
                f"{file}#{name}",
                file,
                name,
                category,
                task,
                number,
                tuple(images),
                text,
                options,
                correct,
                answer,
                texts,
            )
        )
        return None

    def _image(self, given: str) -> tuple[Path, str | None]:
        path = (self.folder / given).resolve()
        if path not in self._opened:
            self._opened[path] = _fault_of(path, given)
        return path, self._opened[path]


def _fault_of(path: Path, given: str) -> str | None:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        return f"its image {given} is missing"
    try:
        with Image.open(path) as image:
            image.verify()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"its image {given} does not open ({error})"
    return None


def write_predictions(benchmark: Benchmark, predictions: Mapping[str, str], out: Path) -> None:
    """The benchmark's files with `prediction` added to each question, for FaceXBench's `aggregate_results.py`.

    predictions: question key -> text. Questions without one are left out of the file, since that script would count
    them as wrong.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, data in benchmark.files.items():
        kept = {
            number: {**question, "prediction": predictions[f"{name}#{number}"]}
            for number, question in data["questions"].items()
            if f"{name}#{number}" in predictions
        }
        if kept:
            part = out / f"{name}.part"
            part.write_text(json.dumps({**data, "questions": kept}, indent=4, ensure_ascii=False), encoding="utf-8")
            part.replace(out / name)

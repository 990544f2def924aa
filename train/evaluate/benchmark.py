"""`python -m train benchmark`: a benchmark in FaceXBench's form from labelled faces (`train.faces.sets`).

Writes JSON files in FaceXBench's form with their images, each image once. Same data, same seed, same files: every
random choice depends on the seed, the task and the image's name alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from facellm.errors import FaceLLMError
from facellm.labels import FAIRFACE_ETHNICITIES
from facellm.storage.files import atomic_open
from train.evaluate.prompts import ANSWER_WITH_LETTER, LETTERS
from train.faces.sets import SPLIT_HELP, Face, FaceSet, chosen_split, open_sets
from train.faces.tasks import TASKS, Task
from train.opening import check_positive
from train.outputs import usable_folder, write_files

# Labels spread over very different numbers of images; the tasks named here take at most as many images of a label as
# the second number allows, so that guessing the commonest does not pay.
BALANCED = {"expression": 25, "headpose": None}  # None: as many as the rarest label has


def task_for(name: str, labels: set[str]) -> Task:
    """The task, with FairFace's seven races where the data names those."""
    task = TASKS[name]
    if name == "race" and labels & (set(FAIRFACE_ETHNICITIES) - set(task.labels)):
        words = MappingProxyType({label: label for label in FAIRFACE_ETHNICITIES})
        listed = ", ".join(FAIRFACE_ETHNICITIES[:-1])
        told = task.description.replace("White, Black, Asian and Indian", f"{listed} and {FAIRFACE_ETHNICITIES[-1]}")
        return replace(task, labels=FAIRFACE_ETHNICITIES, words=words, description=told)
    return task


def choose(faces: Sequence[Face], task: Task, seed: int, per_task: int | None) -> list[Face]:
    """Returns the faces to ask about, in a random order that depends on the seed alone."""
    asked = sorted((f for f in faces if f.labels.get(task.name) in task.labels), key=lambda f: f.key)
    random.Random(f"{seed}:{task.name}").shuffle(asked)
    if task.name in BALANCED and asked:
        by_label: dict[str, list[Face]] = defaultdict(list)
        for face in asked:
            by_label[face.labels[task.name]].append(face)
        most = BALANCED[task.name] or min(map(len, by_label.values()))
        kept = {face.key for own in by_label.values() for face in own[:most]}
        asked = [face for face in asked if face.key in kept]
    return asked[:per_task]


def build(
    sets: Sequence[FaceSet], out: Path, *, split: str | None = "val", seed: int = 0,
    tasks: Sequence[str] = tuple(TASKS), per_task: int | None = None,
) -> dict[str, int]:  # fmt: skip
    """Writes a benchmark.

    Args:
        sets: Labelled folders.
        out: The folder to write into.
        split: First folder of the images' names; None takes every image.
        seed: Of every random choice.
        tasks: Names of `TASKS`.
        per_task: At most so many questions of each task and set.

    Returns:
        The number of questions of each file.

    Raises:
        FaceLLMError: For an unknown task, where no face of the split has a label that a task asks about, or where the
            folder cannot be written into.
    """
    unknown = [name for name in tasks if name not in TASKS]
    if unknown:
        raise FaceLLMError(f"There is no task {unknown[0]!r}; choose from {', '.join(TASKS)}.")
    usable_folder(out)
    written: dict[str, int] = {}
    images: dict[str, tuple[FaceSet, str]] = {}
    for source in sets:
        faces = [face for face in source.faces(split) if source.has(face.name)]
        by_task: dict[str, set[str]] = defaultdict(set)
        for face in faces:
            for name, label in face.labels.items():
                by_task[name].add(label)
        for name in tasks:
            task = task_for(name, by_task[name])
            asked = choose(faces, task, seed, per_task)
            if not asked:
                continue
            questions = {}
            for number, face in enumerate(asked, 1):
                rng = random.Random(f"{seed}:{task.name}:{face.key}")
                text = task.question_for(rng)
                options, right = task.options_for(face.labels[task.name], rng)
                path = f"images/{source.name}/{face.name}"
                images[path] = (source, face.name)
                questions[str(number)] = {
                    "image_paths": [path], "question_text": text, "options": options,
                    "correct_answer_option": LETTERS[right], "answer": options[right],
                }  # fmt: skip
            file = f"{source.name}_single_mcq_{task.name}{f'_{split}' if split else ''}.json"
            data = {
                "category": task.category, "sub-category": task.sub_category, "dataset": source.name,
                "question_type": "MCQ", "num_images": "single",
                "prepend_text": f"{task.description} You have to perform this task.",
                "postpend_text": ANSWER_WITH_LETTER, "questions": questions,
            }  # fmt: skip
            write_files(out, {file: json.dumps(data, indent=4, ensure_ascii=False)})
            written[file] = len(questions)
    if not written:
        where = ", ".join(str(s.folder) for s in sets)
        raise FaceLLMError(f"No image of the split {split!r} in {where} has a label to ask about; check --split.")
    for path, (source, name) in images.items():
        target = out / path
        if not target.is_file():
            with atomic_open(target, "wb") as file:
                file.write(source.read(name))
    return written


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m train benchmark", description=__doc__.split("\n")[0])
    p.add_argument("--data", type=Path, action="append", required=True, help="labelled folder; may be repeated")
    p.add_argument("--labels", type=Path, help="another label file than the one of DATA (with one --data only)")
    p.add_argument("--split", help=SPLIT_HELP)
    p.add_argument("--tasks", default=",".join(TASKS), help=f"of {', '.join(TASKS)}")
    p.add_argument("--per-task", type=int, help="at most so many questions of each task and folder")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, required=True, help="folder to write; keep it outside the repository")
    args = p.parse_args(argv)
    if args.labels and len(args.data) > 1:
        raise FaceLLMError("--labels fits one --data only; give each folder its own labels.csv instead.")
    check_positive(args, "per_task")
    sets = open_sets(args.data, args.labels)
    names = [name.strip() for name in args.tasks.split(",") if name.strip()]
    split = chosen_split(sets, args.split)
    written = build(sets, args.out, split=split, seed=args.seed, tasks=names, per_task=args.per_task)
    for file, count in written.items():
        print(f"{count:6} questions in {args.out / file}")
    print(f"{sum(written.values())} questions; ask them with: python -m train evaluate {args.out}", file=sys.stderr)
    return 0

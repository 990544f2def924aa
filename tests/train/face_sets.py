"""Benchmarks made up for tests: all of FaceXBench's 14 sub-tasks in its published schema, and labelled face sets."""

from __future__ import annotations

import csv
import json
import random
import zipfile
from pathlib import Path

from PIL import Image

from tests.tiny import picture
from train.evaluate.facexbench import CATEGORIES
from train.evaluate.prompts import ANSWER_WITH_LETTER

MULTIPLE = ("hr_fr", "lr_fr", "fas", "deepfakes")
# sub-task -> question, options (published files mix text and whole numbers, and numbers of options)
CONTENT = {
    "age": ("Estimate the age group of the person in this image.", ["20-29", "30-39", "None of the above", "10-19"]),
    "gender": ("What is the gender of the person in this image?", ["Male", "Female", "Both", "None of the above"]),
    "race": ("What is the race of the person in this image?", ["White", "Black", "East Asian", "Indian"]),
    "expression": ("Which expression is shown?", ["happy", "sad", "neutral", "anger"]),
    "attributes": ("Which attribute is present?", ["Eyeglasses", "Beard", "Hat", "None of the above"]),
    "headpose": ("What is the yaw angle range?", ["-10 to 0", "0 to 10", "10 to 20", "-20 to -10"]),
    "segmentation": ("Which region is visible?", ["nose", "left ear", "hair", "cloth"]),
    "crowd_counting": ("How many people are there?", [3, 7, 12, 40]),
    "hr_fr": ("How many images show the same person as the first?", [0, 1, 2, 3]),
    "lr_fr": ("Which image shows the same person as the first?", ["Image 2", "Image 3", "Both", "Neither"]),
    "celebrity_identification": ("Who is this?", ["Ada", "Bob", "Cy", "Dee"]),
    "fas": ("Which images are attacks?", ["Image 1", "Image 2", "All of the images", "None of the images"]),
    "deepfakes": ("Is any of the images a deepfake?", ["Yes", "No"]),
    "tools_retrieval": ("Which calls are needed?", ["api_1-a, api_2-b", "api_1-a", "api_2-b", "api_3-c"]),
}


def write_benchmark(folder: Path, questions: int = 4) -> Path:
    """`questions` of each sub-task; images are in images/FILE/question_N[_M].png."""
    rng = random.Random(7)
    for category, tasks in CATEGORIES.items():
        for task in tasks:
            text, options = CONTENT[task]
            number = "zero" if task == "tools_retrieval" else "multiple" if task in MULTIPLE else "single"
            name = f"made_{number}_mcq_{task}"
            (folder / "images" / name).mkdir(parents=True)
            rows = {}
            for q in range(1, questions + 1):
                paths = []
                for m in range(1, 1 + (2 + q % 2 if number == "multiple" else 1)):
                    path = f"images/{name}/question_{q}{f'_{m}' if number == 'multiple' else ''}.png"
                    image = Image.new("RGB", (40, 40)) if number == "zero" else picture(rng.randrange(10_000), 40)
                    image.save(folder / path)
                    paths.append(path)
                shown = rng.sample(options, len(options))
                right = rng.randrange(len(shown))
                rows[str(q)] = {
                    "image_paths": paths,
                    "question_text": text,
                    "options": shown,
                    "correct_answer_option": "ABCD"[right],
                    "answer": shown[right],
                }
            data = {
                "category": category,
                "sub-category": task,
                "dataset": "made",
                "question_type": "MCQ",
                "num_images": number,
                "prepend_text": f"You have to perform the task of {task}.",
                "postpend_text": ANSWER_WITH_LETTER,
                "questions": rows,
            }
            if number == "zero":
                data["context"] = "Ignore the black image provided.\n1. api_1: a"
            (folder / f"{name}.json").write_text(json.dumps(data, indent=4))
    return folder


def edit(path: Path, change) -> None:
    """`change` applied to a JSON file's content in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def write_face_set(folder: Path, images: int = 36, archive: bool = True, races=("White", "Black", "Asian", "Indian")):
    """A labelled set like the ones that nano is measured on: labels.csv, measurements.csv, val and train images."""
    ages = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
    moods = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust")
    folder.mkdir(parents=True)
    labels, measured = [], []
    for split in ("train", "val"):
        files = []
        for i in range(images):
            name = f"{split}/{i + 1}.jpg"
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            picture(i + (1000 if split == "train" else 0), 48).save(path, quality=90)
            files.append(path)
            labels.append((name, ages[i % 9], ("Male", "Female")[i % 2], races[i % len(races)], moods[i % 6]))
            # every fourth face each: frontal, left, right, in between
            measured.append((name, 1, (0.0, 20.0, -20.0, 11.0)[i % 4]))
        if archive:
            with zipfile.ZipFile(folder / f"{split}.zip", "w") as handle:
                for path in files:
                    handle.write(path, f"{split}/{path.name}")
                    path.unlink()
    for name, head, rows in (
        ("labels.csv", ("file", "age", "gender", "race", "expression"), labels),
        ("measurements.csv", ("file", "found", "yaw_deg"), measured),
    ):
        with (folder / name).open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(head)
            writer.writerows(rows)
    return folder

"""`evaluate --as-published` and `--tiles`: prompts, tiles, answers and scores against the published harness's.

The reference is written out here as the harness does it, with transformers' own InternVL processor and `generate`.
"""

from __future__ import annotations

import json

import pytest

from tests.tiny import make_tiny_internvl, picture
from train.evaluate import facexbench
from train.evaluate.answering import Arm, ModelAnswerer
from train.evaluate.prompts import ANSWER_WITH_LETTER as LETTER
from train.evaluate.summary import chosen

# File -> category, sub-category, num_images, context, [(question, options, right letter, [(width, height), ...])].
FILES = {
    "crowd_single_mcq.json": ("face_localization", "crowd_counting", "single", None, [
        ("How many people are there in this image?", [3, 17, 120, 260], "C", [(640, 360)]),
        ("Count the people. ", ["less than 9", "9-20", "21-50", "more than 50"], "D", [(100, 700)]),
    ]),
    "celebamaskhq_single_mcq.json": ("face_localization", "segmentation", "single", None, [
        ("Which regions are visible?", ["nose, hair", "nose, hat", "left ear", "None of the above"], "A", [(512, 512)]),
        ("Which region is missing?", ["hat", "nose", "lips", "hair", "skin"], "A", [(50, 40)]),
    ]),
    "lfw_multiple_mcq.json": ("face_recognition", "hr_fr", "multiple", None, [
        ("How many images show the person of the first?", [0, 1, 2, "All"], "B", [(56, 56), (112, 56), (60, 181)]),
    ]),
    "tools.json": ("tools_use", "tools_retrieval", "zero", "Ignore the image.\n1. api_1", [
        ("Which calls?", ["api_1-a", "api_2-b", "api_1-b", "none"], "A", [(64, 64)]),
    ]),
}  # fmt: skip
# By question: the prompt of FaceXBench's evaluate.py (a newline ends each part; a fifth option has no letter there) and
# the tiles of InternVL's grid (1 to 12 tiles of 56 px, closest aspect ratio, thumbnail behind more than one).
PROMPTS = {
    "crowd_single_mcq.json#1": (
        f"How many people are there in this image?\n{LETTER}\n(A) 3\n(B) 17\n(C) 120\n(D) 260\n", [9]),
    "crowd_single_mcq.json#2": (
        f"Count the people. \n{LETTER}\n(A) less than 9\n(B) 9-20\n(C) 21-50\n(D) more than 50\n", [8]),
    "celebamaskhq_single_mcq.json#1": (
        f"Which regions are visible?\n{LETTER}\n(A) nose, hair\n(B) nose, hat\n(C) left ear\n(D) None of the above\n",
        [10]),
    "celebamaskhq_single_mcq.json#2": (
        f"Which region is missing?\n{LETTER}\n(A) hat\n(B) nose\n(C) lips\n(D) hair\n", [13]),
    "lfw_multiple_mcq.json#1": (
        f"How many images show the person of the first?\n{LETTER}\n(A) 0\n(B) 1\n(C) 2\n(D) All\n", [1, 3, 4]),
    "tools.json#1": (
        f"Ignore the image.\n1. api_1\nWhich calls?\n{LETTER}\n(A) api_1-a\n(B) api_2-b\n(C) api_1-b\n(D) none\n", [1]),
}  # fmt: skip
# By question: an answer, and the letter that FaceXBench's aggregate_results.py reads from it (by hand).
SCORES = {
    "crowd_single_mcq.json#1": ("There are 120 people, a crowd.", "C"),  # the option's text
    "crowd_single_mcq.json#2": ("more than 50", "D"),
    "celebamaskhq_single_mcq.json#1": ("B nose, hat. No: A", "B"),  # the first lone capital
    "celebamaskhq_single_mcq.json#2": ("E", "E"),  # the scorer knows the fifth letter, the prompt does not
    "lfw_multiple_mcq.json#1": ("(b)", None),
    "tools.json#1": ("A call of api_2-b", "A"),  # the article
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    number = 0
    for name, (category, task, images, context, questions) in FILES.items():
        rows = {}
        for key, (text, options, right, sizes) in enumerate(questions, 1):
            paths = []
            for width, height in sizes:
                number += 1
                picture(number, 64).resize((width, height)).save(root / f"{number}.png")
                paths.append(f"{number}.png")
            rows[str(key)] = {"image_paths": paths, "question_text": text, "options": options,
                              "correct_answer_option": right, "answer": str(options["ABCDE".index(right)])}  # fmt: skip
        data = {"category": category, "sub-category": task, "num_images": images, "prepend_text": "Task.",
                "postpend_text": LETTER, "questions": rows, **({"context": context} if context else {})}  # fmt: skip
        (root / name).write_text(json.dumps(data))
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from facellm.weights.load import open_model

    base = make_tiny_internvl(tmp_path_factory.mktemp("tiny") / "base", end_bias=0.5)
    return base, open_model(str(base), device="cpu", dtype="float32")


def as_the_harness(loaded, question, prompt):
    """Token ids, tiles and answer, as the published model file makes them of its list of images and text."""
    processor, model = loaded.processor, loaded.model
    content = [{"type": "image", "image": str(path)} for path in question.images] + [{"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors="pt", processor_kwargs={"images_kwargs": {"crop_to_patches": True}},
    )  # fmt: skip
    out = model.generate(**inputs, max_new_tokens=24)
    text = processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return inputs["input_ids"][0].tolist(), len(inputs["pixel_values"]), text


def test_prompts_tiles_and_answers_equal_the_published_harness(tiny, folder):
    from facellm.engine.offline import Ask
    from train.evaluate.prompts import published_prompt

    _, loaded = tiny
    questions = facexbench.read(folder).questions
    assert {q.key for q in questions} == set(PROMPTS)
    answerer = ModelAnswerer(loaded, marks=False, new_tokens=24, tiles=12, as_published=True)
    replies = {reply.key: reply for reply in answerer.answer(questions, Arm("base", "generate"))}
    for question in questions:
        prompt, tiles = PROMPTS[question.key]
        assert published_prompt("zero-shot", question.text, question.options, dict(question.texts)) == prompt
        assert [answerer.batched.tile_count(path) for path in question.images] == tiles
        ids, shown, text = as_the_harness(loaded, question, prompt)
        assert shown == sum(tiles)
        assert answerer.batched.ids(Ask(prompt, question.images, numbered=False, verbatim=True)) == ids
        assert replies[question.key].text == text.replace("\ufffd", "").strip() and not replies[question.key].error


@pytest.mark.parametrize("key", SCORES)
def test_scores_are_those_of_the_published_scorer(folder, key):
    from train.evaluate.answering import Reply

    question = next(q for q in facexbench.read(folder).questions if q.key == key)
    text, letter = SCORES[key]
    assert chosen(question, Reply(key, text), Arm("base", "generate"), "published") == letter


def test_tiles_change_what_is_seen_by_likelihood_too(tiny, folder):
    questions = [q for q in facexbench.read(folder).questions if q.task in ("crowd_counting", "segmentation")]

    def scores(tiles):
        answerer = ModelAnswerer(tiny[1], tiles=tiles)
        return {r.key: r.scores for r in answerer.answer(questions, Arm("base", "likelihood"))}

    one, many = scores(1), scores(12)
    assert set(one) == set(many) and all(one[key] != many[key] for key in one)


def test_the_report_says_what_was_used_and_what_compares(tiny, folder, tmp_path):
    from train.__main__ import main

    command = ["evaluate", str(folder), "--model", str(tiny[0]), "--base", "--device", "cpu"]
    assert main([*command, "--as-published", "--out", str(tmp_path / "theirs")]) == 0
    report = (tmp_path / "theirs" / "report.md").read_text()
    assert "the published prompt to the character, up to 12 tiles and a thumbnail" in report
    assert "at most 2048 new tokens, greedy, scorer published" in report
    assert "weights are float32 here and bfloat16 there; 6 questions were asked here and 5,000 there." in report
    settings = json.loads((tmp_path / "theirs" / "results.json").read_text())["settings"]
    assert settings["tiles"] == 12 and settings["as_published"] and not settings["marks"]
    assert main([*command, "--tiles", "3", "--method", "likelihood", "--out", str(tmp_path / "ours")]) == 0
    report = (tmp_path / "ours" / "report.md").read_text()
    assert "our prompt, up to 3 tiles" in report and "Nothing here is comparable with the published rows" in report


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as-published", "--tiles", "6"], "means --tiles 12"),
        (["--as-published", "--scorer", "ours"], "means --scorer published"),
        (["--as-published", "--method", "both"], "means --method generate"),
        (["--as-published", "--detect"], "every image whole"),
        (["--as-published", "--setting", "chain-of-thought"], "no wording"),
        (["--tiles", "13"], "between 1 and 12"),
        (["--tiles", "2", "--detect"], "leave out one"),
    ],
)
def test_contradictions_are_refused(folder, tmp_path, capsys, arguments, words):
    from train.__main__ import main

    assert main(["evaluate", str(folder), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err


def test_an_image_is_shown_in_its_own_size_and_upright(tmp_path):
    from train.evaluate.answering import published_image

    wide = picture(1).resize((3000, 40))
    exif = wide.getexif()
    exif[0x0112] = 6
    wide.save(tmp_path / "wide.jpg", exif=exif)
    assert published_image(tmp_path / "wide.jpg").size == (40, 3000)

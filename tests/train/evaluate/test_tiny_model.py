"""`evaluate` with a tiny InternVL: batches against the engine, prompts, the command."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.tiny import make_tiny_adapter, make_tiny_internvl, picture
from tests.train.evaluate.stand_ins import SETTINGS
from tests.train.face_sets import edit, write_benchmark
from train.evaluate import facexbench
from train.evaluate.evaluate import evaluate


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from facellm.weights.load import open_model

    root = tmp_path_factory.mktemp("tiny")
    base = make_tiny_internvl(root / "base", end_bias=0.5)
    adapter = make_tiny_adapter(base, root / "adapter")
    return base, adapter, open_model(str(base), adapter=str(adapter), device="cpu", dtype="float32")


def test_batched_scores_and_texts_equal_the_engine(tiny):
    from facellm.engine.engine import Engine, Row, Sampling
    from facellm.engine.offline import Ask, OfflineEngine

    _, _, loaded = tiny
    images = {i: picture(i) for i in range(3)}
    questions = ["What is it?", "Describe the face pose of the image.", "Is the mouth open or closed?"]
    asks = [Ask(q, (i,), ("open", "closed", "A")) for i in images for q in questions]
    engine, batched = Engine(loaded), OfflineEngine(loaded, images.__getitem__, rows=4)
    for variant in ("base", "facellm"):
        for index, scores, _ in batched.score(asks, variant):
            ask = asks[index]
            expected = engine.score(images[ask.images[0]], ask.prompt, ask.labels, variant)
            assert scores == pytest.approx(expected, abs=2e-4)
        for index, found in batched.generate(asks, variant, 12):
            ask = asks[index]
            answer = engine.answer(images[ask.images[0]], [Row(variant, ask.prompt)], Sampling(max_new_tokens=12))[0]
            assert found.text == answer.text.strip() and found.tokens >= answer.tokens


def test_questions_of_an_image_stand_in_one_row(tiny):
    from facellm.engine.offline import Ask, OfflineEngine

    _, _, loaded = tiny
    asks = [Ask(f"Question {i}?", (i % 2,), ("A", "B")) for i in range(6)] + [Ask("No image?", (), ("A",))] * 2
    offline = OfflineEngine(loaded, picture)
    rows = {tuple(members): row for members, row in offline.pack(asks)}
    assert sorted(rows) == [(0, 2, 4), (1, 3, 5), (6,), (7,)]
    prompt, row = offline.ids(asks[0]), rows[0, 2, 4]
    assert row.ids[: row.shared] == prompt[: row.shared] and len(row.ids) < 3 * len(prompt)
    start = len(prompt) + 2  # behind the first question and the one token of each label that is read
    seen = row.visible()
    assert seen[start, : row.shared].all() and not seen[start, row.shared : start].any()
    assert row.positions[start] == row.shared and not seen.triu(1).any()


def test_multi_image_prompt_has_marks_and_all_images(tiny):
    from facellm.engine.offline import Ask, OfflineEngine

    _, _, loaded = tiny
    batched = OfflineEngine(loaded, lambda key: picture(key))
    token = loaded.processor.image_token_id
    ids = batched.ids(Ask("Who?", (1, 2, 3)))
    assert ids.count(token) == 3 * loaded.processor.image_seq_length
    text = loaded.processor.tokenizer.decode(ids)
    assert "Image 1: " in text and "Image 3: " in text and text.index("Image 3") < text.index("Who?")
    assert "Image" not in loaded.processor.tokenizer.decode(batched.ids(Ask("Who?", (1,))))
    one, two = ([s for _, s, _ in batched.score([Ask("Who?", k, ("A", "B"))], "base")] for k in ((1, 2), (2, 1)))
    assert one != two  # the order of the images matters
    assert [s for _, s, _ in batched.score([Ask("Who?", (), ("A", "B"))], "base")] != one


def test_command_on_the_tiny_model(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    base, adapter, _ = tiny
    command = ["evaluate", str(folder), "--model", str(base), "--adapter", str(adapter), "--both", "--method", "both",
               "--limit", "2", "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["asked"] == 28 and set(results["models"]) == {"base", "facellm"}
    assert results["models"]["base"]["likelihood"]["overall"]["unparsed"] == 0  # a letter is always the likeliest
    compared = results["methods"]["facellm"]
    assert compared["same"]["total"] == 28 and set(compared["seconds"]) == {"generate", "likelihood"}
    assert all(seconds > 0 for seconds in compared["seconds"].values())
    assert "likelihood, s" in (tmp_path / "out" / "report.md").read_text()
    assert "Sub-tasks, by likelihood" in capsys.readouterr().out
    before = {p: p.read_bytes() for p in (tmp_path / "out" / "replies").iterdir()}
    assert len(before) == 4 and main(command) == 0
    assert before == {p: p.read_bytes() for p in before}  # nothing was asked again


def test_the_number_format_is_chosen_and_part_of_the_settings(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    command = ["evaluate", str(folder), "--model", str(tiny[0]), "--base", "--method", "likelihood", "--limit", "1",
               "--device", "cpu", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*command, "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["dtype"] == "bfloat16"
    assert main([*command, "--dtype", "float32"]) == 2  # answers of both formats do not mix
    assert "dtype" in capsys.readouterr().err


def test_parts_of_weights_in_two_folders_are_one_run(tiny, folder, tmp_path, capsys):
    from train.__main__ import main

    base, adapter, _ = tiny
    copies = [(tmp_path / name / "base", tmp_path / name / "adapter") for name in ("here", "there")]
    for own_base, own_adapter in copies:
        shutil.copytree(base, own_base)
        shutil.copytree(adapter, own_adapter)

    def ask(place, out, *more):
        own_base, own_adapter = copies[place]
        return main(["evaluate", str(folder), "--model", str(own_base), "--adapter", str(own_adapter), "--method",
                     "likelihood", "--limit", "1", "--device", "cpu", "--out", str(tmp_path / out), *more])  # fmt: skip

    assert ask(0, "one", "--shard", "1/2") == ask(1, "two", "--shard", "2/2") == 0
    assert str(copies[1][1]) in (tmp_path / "two" / "run.json").read_text()  # told, but not compared
    merged = ["--limit", "1", "--merge", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "all")]
    assert main(["evaluate", str(folder), *merged]) == 0
    assert json.loads((tmp_path / "all" / "results.json").read_text())["asked"] == 14
    assert ask(1, "one", "--shard", "1/2") == 0  # goes on with the moved weights
    capsys.readouterr()
    make_tiny_internvl(copies[1][0], seed=3, end_bias=0.5)  # another base below the same adapter
    assert ask(1, "one", "--shard", "1/2") == 2
    assert "(different: fingerprint)" in capsys.readouterr().err


def test_tiny_images_and_other_formats_are_asked_and_a_mended_one_later(tiny, tmp_path):
    from train.evaluate.answering import ModelAnswerer

    folder, out = write_benchmark(tmp_path / "benchmark", 1), tmp_path / "out"
    age, gender, race, expression, headpose = (
        folder / "images" / f"made_single_mcq_{task}" / "question_1.png"
        for task in ("age", "gender", "race", "expression", "headpose")
    )
    picture(1).resize((12, 10)).save(age)
    picture(2).resize((1, 1)).save(gender)
    picture(3).save(race, "BMP")
    picture(4).save(expression, "TIFF")
    picture(5, 400).save(headpose, "JPEG")
    headpose.write_bytes(headpose.read_bytes()[:-900])  # opens, but does not decode

    def run():
        read, answerer = facexbench.read(folder), ModelAnswerer(tiny[2])
        found = evaluate(read, answerer, out, SETTINGS, variants=("base",), methods=("likelihood",))
        return found["models"]["base"]["likelihood"]

    assert [e.partition(":")[0] for e in run()["errors"]] == ["made_single_mcq_headpose.json#1"]
    told = "base, likelihood: made_single_mcq_headpose.json#1: 'question_1.png' is damaged"
    assert told in (out / "report.md").read_text()
    picture(5).save(headpose)
    found = run()
    assert found["questions"] == 14 and not found["errors"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--both"], "leave out --both"),
        (["--base", "--limit", "0"], "at least 1"),
    ],
)
def test_command_refuses_in_a_sentence(tiny, folder, tmp_path, capsys, arguments, words):
    from train.__main__ import main

    assert main(["evaluate", str(folder), "--model", str(tiny[0]), *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error


def test_prompt_longer_than_the_model_is_reported_not_asked(tiny, tmp_path):
    from train.evaluate.answering import ModelAnswerer

    folder = write_benchmark(tmp_path / "benchmark", 1)
    edit(folder / "made_zero_mcq_tools_retrieval.json", lambda d: d.update(context="api " * 4000))
    read = facexbench.read(folder)
    answerer = ModelAnswerer(tiny[2])
    results = evaluate(read, answerer, tmp_path / "out", SETTINGS, variants=("base",), methods=("likelihood",))
    numbers = results["models"]["base"]["likelihood"]
    assert numbers["questions"] == 13 and "the model has 2048" in numbers["errors"][0]

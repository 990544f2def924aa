"""Rows in all their forms: what is read, what is named, and that a run stops or goes on before it computes (15 s)."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from facellm.errors import FaceLLMError
from tests.tiny import picture
from tests.train.lora.lora_data import QUESTIONS, make_world
from train import __main__ as cli
from train.lora import lora
from train.lora.conversations import check_images, mixed, read_dataset
from train.lora.preparation import DataOptions, prepare
from train.lora.recipe import check
from train.lora.rows.example import Example

ASKED, SAID = "Is the person smiling?", "Yes."
USER, MODEL = {"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}
PARTS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASKED}]},
    {"role": "assistant", "content": [{"type": "text", "text": SAID}]},
]


def png(seed: int = 0) -> bytes:
    out = io.BytesIO()
    picture(seed).save(out, "PNG")
    return out.getvalue()


def read(tmp_path: Path, *rows, name: str = "dataset.json") -> list[Example]:
    (tmp_path / name).write_text(json.dumps(rows))
    return list(read_dataset(tmp_path / name).train)


FORMS = {
    "sharegpt": {"images": ["a.png"], "conversations": [{"from": "human", "value": f"<image>{ASKED}"},
                                                         {"from": "gpt", "value": SAID}]},
    "llava": {"id": 1, "image": "a.png", "conversations": [{"from": "human", "value": f"{ASKED}\n<image>"},
                                                            {"from": "gpt", "value": SAID}]},
    "openai": {"images": ["a.png"], "messages": [USER, MODEL]},
    "parts": {"images": ["a.png"], "messages": PARTS},
    "own image": {"messages": [{"role": "user", "content": [
        {"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": "file:///a.png"}}]}, MODEL]},
    "prompt and completion": {"images": ["a.png"], "prompt": [USER], "completion": [MODEL]},
    "alpaca": {"images": ["a.png"], "instruction": ASKED, "input": "", "output": SAID},
    "question": {"image": "a.png", "question": ASKED, "answer": SAID},
    "query": {"image": "a.png", "query": ASKED, "response": SAID},
    "user": {"image": "a.png", "user": ASKED, "assistant": SAID},
    "pairs": {"images": ["a.png"], "pairs": [{"question": ASKED, "answer": SAID}]},
    "texts": {"images": ["a.png"], "texts": [{"user": ASKED, "assistant": SAID, "source": "x"}]},
    "empty bytes": {"image": {"bytes": "", "path": "a.png"}, "question": ASKED, "answer": SAID},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_common_form_is_the_same_conversation(tmp_path, form):
    (example,) = read(tmp_path, FORMS[form])
    assert example.turns == ((ASKED, SAID),) and example.system is None
    assert example.image == ("/a.png" if form == "own image" else "a.png")
    assert example.where == f"{tmp_path / 'dataset.json'} row 1"


def test_several_pairs_in_a_row_are_a_conversation_each(tmp_path):
    row = {
        "image": "a.png",
        "system": "Be brief.",
        "pairs": [
            {"question": ASKED, "answer": SAID, "messages": None, "image": None},
            {"messages": [USER, MODEL] * 2},
        ],
    }
    one, two = read(tmp_path, row)
    assert (one.image, one.turns, one.system) == ("a.png", ((ASKED, SAID),), "Be brief.")
    assert (two.image, two.turns) == ("a.png", ((ASKED, SAID), (ASKED, SAID)))
    talk = {"images": ["a.png"], "messages": [USER, MODEL], "texts": ["what a scanner read"]}
    assert [example.turns for example in read(tmp_path, talk)] == [((ASKED, SAID),)]  # texts are of another kind there


def test_alpaca_keeps_system_input_and_history(tmp_path):
    row = {"images": [], "system": "Be brief.", "instruction": "Look", "input": "at the mouth", "output": "Open.",
           "history": [["Who?", "Nobody."]]}  # fmt: skip
    (example,) = read(tmp_path, row)
    assert example == Example(
        None, (("Who?", "Nobody."), ("Look\nat the mouth", "Open.")), "Be brief.", f"{tmp_path / 'dataset.json'} row 1"
    )


@pytest.mark.parametrize("kind", ["base64", "data", "part"])
def test_bytes_in_a_row_are_its_image(tmp_path, kind):
    text = base64.b64encode(png()).decode()
    url = f"data:image/png;base64,{text}"
    row = {
        "base64": {"image": {"bytes": text, "path": None}, "question": ASKED, "answer": SAID},
        "data": {"images": [url], "messages": [USER, MODEL]},
        "part": {"messages": [{"role": "user", "content": [{"type": "image", "image": url}, ASKED]}, MODEL]},
    }[kind]
    (tmp_path / "dataset.json").write_text(json.dumps([row]))
    data = read_dataset(tmp_path)
    (example,) = data.train
    assert data.source(example.image) == png() and example.image.startswith("sha256:") and not check_images(data)


WRONG = {
    "pairs": ({"images": ["a.png"], "conversations": [["q", "a"]]}, "turn 1 of type list"),
    "string": ({"images": ["a.png"], "conversations": "USER: q"}, "conversations of type str"),
    "dict": ({"images": ["a.png"], "conversations": {"from": "human"}}, "conversations of type dict"),
    "image number": ({"image": 5, "question": "q", "answer": "a"}, "image of type int"),
    "system list": ({"images": [], "system": ["s"], "question": "q", "answer": "a"}, "system prompt of type list"),
    "answer number": ({"images": [], "question": "q", "answer": 3}, "'assistant' of type int"),
    "no answer": ({"images": [], "question": "q", "answer": None}, "empty question or answer"),
    "surrogate": ({"images": [], "question": "q \ud83d", "answer": "a"}, "half of a surrogate pair (\\ud83d)"),
    "address": ({"image": "https://x.org/a.png", "question": "q", "answer": "a"}, "by its address"),
    "two images": ({"images": ["a", "b"], "question": "q", "answer": "a"}, "has 2 images"),
    "preference": ({"images": [], "prompt": "q", "chosen": "a", "rejected": "b"}, "holds a preference"),
    "tool": ({"images": [], "messages": [USER, {"role": "tool", "content": "4"}]}, "found 'tool' as turn 2"),
    "video": ({"images": [], "messages": [{"role": "user", "content": [{"type": "video"}]}]}, "of type 'video'"),
    "unknown columns": ({"images": [], "text": "q"}, "has the columns images, text"),
    "no object": ([1], "of type list"),
    "no pairs": ({"images": [], "pairs": []}, "has pairs of another form than a list of objects"),
    "texts alone": ({"images": [], "texts": ["q"]}, "has texts of another form"),
    "one bad pair": ({"images": [], "pairs": [{"question": "q", "answer": "a"}, {"question": ""}]}, "has the columns"),
    "no image column": ({"question": "q", "answer": "a"}, "has no image column"),
    "base64": ({"image": {"bytes": "?", "path": ""}, "question": "q", "answer": "a"}, "no base64"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_row_of_a_wrong_type_is_named(tmp_path, case):
    row, words = WRONG[case]
    good = {"image": "a.png", "question": "q", "answer": "a"}
    with pytest.raises(FaceLLMError) as caught:
        read(tmp_path, good, row)
    text = str(caught.value)
    assert text.startswith(f"1 of 2 rows cannot be used: {tmp_path / 'dataset.json'} row 2 ") and words in text
    faults = []
    assert len(read_dataset(tmp_path, faults).train) == 1 and len(faults) == 1


GOOD = {"image": "a.png", "question": ASKED, "answer": SAID}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["dataset.json", "dataset.jsonl", "faces.ndjson", "rows.txt"])
def test_json_lines_are_read_under_any_name_and_with_any_mark(tmp_path, name, encoding):
    text = "".join(
        json.dumps(row, ensure_ascii=False) + "\r\n" for row in (GOOD, {**GOOD, "answer": "Ja\u2028, täglich."})
    )
    (tmp_path / name).write_bytes(text.encode(encoding))
    place = tmp_path if not name.endswith("txt") else tmp_path / name
    assert [e.turns[0][1] for e in read_dataset(place).train] == [SAID, "Ja\u2028, täglich."]


def test_a_damaged_line_is_one_fault_and_a_damaged_file_an_error(tmp_path):
    (tmp_path / "dataset.jsonl").write_text(json.dumps(GOOD) + '\n\n{"image": "a.p\n')
    with pytest.raises(FaceLLMError, match=r"1 of 2 rows .*dataset.jsonl line 3 is not valid JSON"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.jsonl").write_text(json.dumps(GOOD, indent=1))
    assert len(read_dataset(tmp_path).train) == 1
    (tmp_path / "dataset.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FaceLLMError, match="cannot be read as text"):
        read_dataset(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "dataset.jsonl").unlink()
    with pytest.raises(FaceLLMError, match=r"holds 2 files of rows \(a.jsonl, b.jsonl\)"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("kind", ["dict", "one", "parquet", "hub folder"])
def test_saved_datasets_and_parquet_are_read_with_their_images(tmp_path, kind):
    import datasets

    (tmp_path / "1.png").write_bytes(png(1))
    made = {}
    for number, split in enumerate(("train", "validation")):
        rows = {"images": [[{"bytes": png(number), "path": None}]], "messages": [PARTS]}
        made[split] = datasets.Dataset.from_dict(rows).cast_column("images", datasets.List(datasets.Image()))
    place = tmp_path / "set"
    if kind == "dict":
        datasets.DatasetDict(made).save_to_disk(str(place))
    elif kind == "one":
        made["train"].save_to_disk(str(place))
    else:
        folder = place / "data" if kind == "hub folder" else place
        folder.mkdir(parents=True)
        for split, one in made.items():
            one.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    data = read_dataset(place)
    assert [e.turns for e in data.train] == [((ASKED, SAID),)] and data.source(data.train[0].image) == png(0)
    assert [data.source(e.image) for e in data.val] == ([] if kind == "one" else [png(1)])
    assert not check_images(data) and read_dataset(place).digest == data.digest
    if kind == "parquet":
        made["train"].to_parquet(str(place / "holdout-00000-of-00001.parquet"))
        with pytest.raises(FaceLLMError, match="has a split 'holdout'"):
            read_dataset(place)


def test_splits_are_read_whatever_their_case_and_unknown_ones_are_refused(tmp_path, capsys):
    picture(0).save(tmp_path / "a.png")
    rows = [{**GOOD, "split": s} for s in ("Train", "TRAINING ", "Val", "validation", "DEV", "test", "Test")]
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    data = prepare(tmp_path, tmp_path, DataOptions())
    assert (len(data.train), len(data.val), data.test) == (2, 3, 2)
    assert "2 rows to learn; 3 to validate on; 2 of the test split left out" in capsys.readouterr().err
    (tmp_path / "dataset.json").write_text(json.dumps([*rows, {**GOOD, "split": "holdout"}]))
    with pytest.raises(FaceLLMError, match=r"row 8 is of the split 'holdout'; name splits train, training, val"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(rows[-2:]))
    with pytest.raises(FaceLLMError, match=r"no training row \(2 of the test split are left out\)"):
        read_dataset(tmp_path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def test_bad_images_stop_a_run_before_it_begins_or_are_left_out(world, tmp_path, capsys):
    data, base = world
    rows = json.loads((data / "dataset.json").read_text())
    for row in rows:
        row["images"] = [str(data / row["images"][0])]
    cut, gone = tmp_path / "cut.png", tmp_path / "gone.png"
    cut.write_bytes((data / "images" / "0.png").read_bytes()[:3000])
    rows[5]["images"], rows[9]["images"] = [str(cut)], [str(gone)]
    (tmp_path / "dataset.json").write_text(json.dumps(rows))
    flags = ["lora", "--data", str(tmp_path), "--model", str(base), "--out", str(tmp_path / "out"), "--device", "cpu",
             "--precision", "float32", "--max-steps", "1", "--no-cache-features", "--samples", "0"]  # fmt: skip
    assert cli.main(flags) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        "2 of 64 rows" in told and "row 6" in told and "cut.png" in told and "row 10" in told and "--skip-bad" in told
    )
    listed = (tmp_path / "out" / "bad_rows.txt").read_text().splitlines()
    assert len(listed) == 2 and "damaged or incomplete" in listed[0] and "missing" in listed[1]
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
    assert cli.main([*flags, "--skip-bad"]) == 0
    assert "2 bad ones left out" in capsys.readouterr().err
    known = json.loads((tmp_path / "out" / "adapter" / "training.json").read_text())
    assert known["data"]["train"] == 62 and known["data"]["digest"] != read_dataset(tmp_path).digest


def test_a_hub_set_of_bytes_trains_with_and_without_a_cache(world, tmp_path):
    import datasets

    rows = {"image": [{"bytes": png(i), "path": None} for i in range(4)],
            "question": [QUESTIONS[i] for i in range(4)], "answer": ["yes", "no", "yes", "no"]}  # fmt: skip
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / "set"))
    losses = []
    for cached in (True, False):
        settings = check({"max_steps": 1, "precision": "float32", "samples": 1, "cache_features": cached})
        figures = lora.train(tmp_path / "set", str(world[1]), tmp_path / f"{cached}", settings, device="cpu")
        losses.append(figures["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_general_rows_are_mixed_in_by_their_share(world, tmp_path, capsys, kind):
    general = [
        {"messages": [{**USER, "content": f"What is {i} + {i}?"}, {**MODEL, "content": f"{2 * i}"}]} for i in range(40)
    ]
    if kind == "image":
        (tmp_path / "more").mkdir()
        for i, row in enumerate(general):
            picture(100 + i).save(tmp_path / "more" / f"{i}.png")
            row["images"] = [f"{i}.png"]
    place = tmp_path / ("more" if kind == "image" else "general.jsonl")
    file = place / "dataset.jsonl" if kind == "image" else place
    file.write_text("".join(json.dumps(row) + "\n" for row in general))
    face = read_dataset(world[0])
    wider = mixed(face, read_dataset(place, image_column=False), 0.2, seed=3)
    assert len(wider.train) == 64 + 16 and wider.val == face.val and not check_images(wider)
    assert wider.digest != face.digest == read_dataset(world[0]).digest
    assert wider.train[64:] != mixed(face, read_dataset(place, image_column=False), 0.2, seed=4).train[64:]
    flags = ["lora", "--data", str(world[0]), "--mix", str(place), "--mix-ratio", "0.2", "--model", str(world[1]),
             "--out", str(tmp_path / "out"), "--device", "cpu", "--precision", "float32"]  # fmt: skip
    assert cli.main([*flags, "--samples", "0", "--max-steps", "2"]) == 0
    assert "80 rows to learn, 16 of them general" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/adapter/training.json").read_text())["data"]["train"] == 80
    assert cli.main([*flags, "--mix-ratio", "1.5"]) == 2
    assert "--mix-ratio is 1.5" in capsys.readouterr().err

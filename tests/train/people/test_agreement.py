"""Human against synthetic answers: pairing, what both state, and the experiment end to end on a tiny model.

About 25 s on an idle machine.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sqlite3
from pathlib import Path

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.tiny import make_tiny_internvl
from tests.train.face_sets import write_benchmark
from tests.train.people.audit_data import make_set
from train import __main__ as cli
from train.lora.conversations import read_dataset
from train.people.agreement import agreement
from train.people.agreement.pairs import HUMAN, SYNTHETIC, Pair, read_human, read_pairs, write_data
from train.people.agreement.shared_facts import AGE, AGE_GROUP, compare, stated
from train.people.audit.items import Item, read_items
from train.people.audit.judgements import AuditStore
from train.people.audit.sample import draw

QUICK = [
    *("--learning-rate", "0.01", "--batch", "8", "--max-steps", "2", "--precision", "float32", "--rank", "2"),
    *("--log-every", "1", "--eval-every", "0", "--samples", "0", "--micro-tokens", "400", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("agreement") / "set", images=4)


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def human(tmp_path):
    """A person's answers to three questions about each of four images; one about an image that is not there."""
    said = "A {} of roughly 30 to 50 years, smiling. The mouth is open."
    rows = [
        {"image": f"images/{i}.png", "attribute": key, "annotator": ("ada", "bo")[i % 2],
         "answer": said.format("man" if i in (0, 1) else "woman")}
        for i in range(4)
        for key in ("demographic", "detail", "pose")
    ]  # fmt: skip
    rows.append({"image": "images/99.png", "attribute": "pose", "annotator": "bo", "answer": "A man."})
    return write_csv(tmp_path / "human.csv", rows)


def test_answers_find_their_partners(synthetic, human):
    read = read_pairs(synthetic, human)
    assert len(read.pairs) == 12 and read.left_out[0].startswith("1 of 13 human answers have no synthetic partner")
    pair = next(p for p in read.pairs if p.item.image == "images/3.png" and p.item.attribute == "pose")
    assert pair.human.startswith("A woman") and pair.item.answer.endswith("This is the pose part.")
    assert pair.annotator == "bo"


def test_answers_of_the_audit_page_are_read(synthetic, tmp_path):
    store, read = AuditStore(tmp_path / "m.sqlite3"), read_items(synthetic)
    store.begin("set", 6, 0, read, draw(read.items, 6, 0))
    for item in store.items()[:3]:
        store.write_answer(item.key, "cy", f"A face. {item.attribute}")
    pairs = read_pairs(synthetic, store.path).pairs
    assert [(p.item.key, p.human) for p in pairs] == [(i.key, f"A face. {i.attribute}") for i in store.items()[:3]]


def test_a_csv_may_name_images_without_their_folder_and_questions_in_full(synthetic, tmp_path):
    rows = [{"image": "2.png", "question": ATTRIBUTES[5].question, "answer": "Frontal."}]
    (pair,) = read_pairs(synthetic, write_csv(tmp_path / "h.csv", rows)).pairs
    assert (pair.item.image, pair.item.attribute, pair.annotator) == ("images/2.png", "pose", "unnamed")


def test_what_an_answer_states():
    said = stated(
        "The image shows a young woman, between about 25 and 45 years old. The lips are closed. She has a broad jaw."
    )
    assert said == {"gender": "Female", "mouth": "closed", "jaw": "broad", AGE_GROUP: "30-39"}
    assert stated("A man or a woman; it is not clear whether the mouth is open.") == {}
    assert stated("He is more than 70, about 75 to 95 years old.")[AGE_GROUP] == "more than 70"
    assert stated("The baby is between zero and three years old.")[AGE_GROUP] == "0-2"


def pair(human: str, synthetic: str, image: str) -> Pair:
    item = Item(image, image, Path(image), "detail", "?", synthetic, (synthetic,))
    return Pair(item, human, "ada")


def test_agreement_is_counted_where_both_state_a_fact():
    pairs = [
        pair("A man. The mouth is open.", "The image shows a man.", "1"),
        pair("A man.", "The image shows a woman. The mouth is closed.", "2"),
        pair("A woman, 20 to 30 years old.", "The image shows a woman, 29 to 45 years old.", "3"),
        pair("A woman, 20 to 24 years old.", "The image shows a woman, 40 to 60 years old.", "4"),
        pair("A face.", "The image shows a man.", "5"),
    ]
    found = compare(pairs)
    gender = found["facts"]["gender"]
    assert (gender[HUMAN], gender[SYNTHETIC], gender["both"], gender["same"]["count"]) == (4, 5, 4, 3)
    # 1 both Male, 1 Male/Female, 2 both Female: p = 3/4, chance = .5 * .25 + .5 * .75 = .5
    assert gender["kappa"] == pytest.approx(0.5)
    mouth = found["facts"]["mouth"]
    assert (mouth[HUMAN], mouth[SYNTHETIC], mouth["both"], mouth["kappa"]) == (1, 1, 0, None)
    ages = found["facts"][AGE]
    assert (ages["both"], ages["same"]["count"], ages["kappa"]) == (2, 1, None)
    assert found["facts"][AGE_GROUP]["same"]["count"] == 0  # middles 25 and 37, 22 and 50
    assert {"fact": "gender", "image": "2", "attribute": "detail", "annotator": "ada", HUMAN: "Male",
            SYNTHETIC: "Female"} in found["apart"]  # fmt: skip
    assert "pose" not in found["facts"]


def test_both_data_sets_differ_in_the_answers_alone(synthetic, human, tmp_path):
    pairs = read_pairs(synthetic, human).pairs
    one, other = (read_dataset(write_data(tmp_path / variant, pairs, variant)) for variant in (HUMAN, SYNTHETIC))
    assert [(e.image, e.turns[0][0]) for e in one.train] == [(e.image, e.turns[0][0]) for e in other.train]
    assert all(Path(e.image).is_file() for e in one.train)
    assert [e.turns[0][1] for e in one.train] == [p.human for p in pairs]
    assert [e.turns[0][1] for e in other.train] == [p.item.answer for p in pairs]


def test_without_a_benchmark_only_the_answers_are_compared(synthetic, human, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["agreement", "--synthetic", str(synthetic), "--human", str(human), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "12 answers by ada, bo about 4 images" in said and "1 of 13 human answers" in said
    # images 0 and 2 are men's in the set, 0 and 1 in the person's answers: half agree
    assert "| gender | 12 | 12 | 12 | 50.0 [" in said and "No adapters were trained" in said
    assert "gender, `images/1.png`" in said
    rows = {r["fact"]: r for r in csv.DictReader(io.StringIO((out / "labels.csv").read_text()))}
    assert rows["gender"]["same"] == "6" and rows["mouth"]["both"] == "0" and rows[AGE]["same"] == "12"


def test_the_experiment_end_to_end_and_resumed(synthetic, human, tmp_path, monkeypatch):
    base = make_tiny_internvl(tmp_path / "base", end_bias=0.5)
    benchmark, out = write_benchmark(tmp_path / "bench", questions=2), tmp_path / "out"
    command = ["agreement", "--synthetic", str(synthetic), "--human", str(human), "--out", str(out),
               "--benchmark", str(benchmark), "--model", str(base), *QUICK]  # fmt: skip
    assert cli.main([*command, "--limit", "1"]) == 0
    first = json.loads((out / "results.json").read_text())["experiment"]
    assert first["questions"] == 14
    assert cli.main(command) == 0  # a larger limit asks what is missing
    found = json.loads((out / "results.json").read_text())["experiment"]
    assert found["questions"] == 28 and found["adapters"][HUMAN]["steps"] == found["adapters"][SYNTHETIC]["steps"] == 2
    records = [json.loads((out / w / "adapter" / "training.json").read_text()) for w in (HUMAN, SYNTHETIC)]
    assert records[0]["recipe"] == records[1]["recipe"] and records[0]["base"] == records[1]["base"]
    assert records[0]["data"]["digest"] != records[1]["data"]["digest"]
    assert set(found["accuracy"]) == {"base", HUMAN, SYNTHETIC}
    assert all(row["total"] == 28 for row in found["accuracy"].values())
    tested = found["paired"]["human, synthetic"]
    assert sum(tested["overall"][cell] for cell in ("both", "only_first", "only_second", "neither")) == 28
    right = found["accuracy"]
    assert tested["overall"]["gain"] == pytest.approx((right[SYNTHETIC]["count"] - right[HUMAN]["count"]) / 28)
    assert len(tested["tasks"]) == 14 and all(0 <= row["p_holm"] <= 1 for row in tested["tasks"].values())
    report = (out / "report.md").read_text()
    assert "| human answers | 12 | 2 |" in report and "| base, synthetic | all |" in report
    # The same command again: nothing is trained or asked a second time.
    from train.evaluate.answering import ModelAnswerer
    from train.lora import lora

    def again(*_args, **_kwargs):
        raise AssertionError("a finished stage was done again")

    monkeypatch.setattr(lora, "train", again)
    monkeypatch.setattr(ModelAnswerer, "answer", again)
    assert cli.main(command) == 0
    assert json.loads((out / "results.json").read_text())["experiment"] == found
    assert cli.main([*command, "--limit", "1"]) == 0  # a smaller one reports on no more than it names
    assert json.loads((out / "results.json").read_text())["experiment"] == first
    # Other inputs are never answered with what was found for these.
    with pytest.raises(FaceLLMError, match="was trained with seed=0, not 1"):
        agreement.main([*command[1:], "--seed", "1"])
    other = make_tiny_internvl(tmp_path / "other", end_bias=0.5, seed=9)
    with pytest.raises(FaceLLMError, match="was trained on another base"):
        agreement.main([*command[1:], "--model", str(other)])
    with pytest.raises(FaceLLMError, match=r"another run .*benchmark"):
        agreement.main([*command[1:], "--benchmark", str(write_benchmark(tmp_path / "more", questions=3))])


BAD = {
    "columns.csv": "image,text\na,b\n",
    "empty.csv": "image,attribute,answer\n",
    "hole.csv": "image,attribute,answer\nimages/0.png,pose, \n",
    "attribute.csv": "image,attribute,answer\nimages/0.png,hair,Brown.\n",
    "stranger.csv": "image,attribute,answer\nelsewhere.png,pose,Frontal.\n",
}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.csv", "There is no file"),
        ("columns.csv", "has no column `answer` (it has: image, text)"),
        ("empty.csv", "holds no answer that a person wrote"),
        ("hole.csv", "hole.csv line 2 has no image or an empty answer"),
        ("attribute.csv", "attribute.csv line 2 has no question, and 'hair' is none of the attributes"),
        ("stranger.csv", "None of the 1 answers"),
        ("other.sqlite3", "is a database, but not one of `train audit`"),
        ("binary.csv", "is not UTF-8 text; save it as CSV in UTF-8"),
    ],
)
def test_bad_human_answers_get_a_sentence(synthetic, tmp_path, capsys, file, message):
    path = tmp_path / file
    if file in BAD:
        path.write_text(BAD[file])
    elif file == "other.sqlite3":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (x)")
    elif file == "binary.csv":
        path.write_bytes(random.Random(0).randbytes(400))
    command = ["agreement", "--synthetic", str(synthetic), "--human", str(path), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told and not (tmp_path / "out").exists()


def test_bad_options_get_a_sentence(synthetic, human, tmp_path, capsys):
    command = ["agreement", "--synthetic", str(synthetic), "--human", str(human), "--out", str(tmp_path / "out")]
    assert cli.main([*command, "--limit", "0"]) == 2 and "--limit is 0" in capsys.readouterr().err
    assert cli.main([*command, "--benchmark", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    with pytest.raises(FaceLLMError, match="There is no data set"):
        read_pairs(tmp_path / "nowhere", human)
    assert len(read_human(human)) == 13

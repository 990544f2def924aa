"""A vLLM's ways, learnt from what it answers; what is known of its models travels in their folder or in a file."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from facellm import FaceLLMError
from facellm.client.connecting import connect
from facellm.client.knowledge import VARIABLE, knowledge_in
from facellm.client.turns import Turns
from facellm.labels import ETHNICITIES
from facellm.profile import FIELDS, softmax
from facellm.results import VARIANTS
from facellm.weights.registry import read_declared
from tests.served import VLLM, InThread


@pytest.fixture
def wide(photo):
    """A picture of which InternVL's processor would make several tiles."""
    return photo.crop((0, 0, 120, 60))


def test_words_for_tiles_are_sent_where_they_are_needed(here, photo, wide):
    served = VLLM(here)
    with InThread(served) as server:
        vllm = connect(server.url, check=False)
        assert vllm.ask(photo, "Hi", whole=True, max_new_tokens=4).text
        assert vllm.ask(photo.resize((448, 448)), "Hi", whole=True, max_new_tokens=4).text
        assert served.words == [None, None]  # one tile by itself
        for picture in (wide, photo.resize((800, 800))):
            vllm.ask(picture, "Hi", whole=True, max_new_tokens=4)
            assert served.words[-1] == {"crop_to_patches": False}
        vllm.ask(wide, "Hi", whole=True, tiles=4, max_new_tokens=4)
        assert served.words[-1] == {"crop_to_patches": True, "min_patches": 1, "max_patches": 4}
        vllm.close()


def test_a_server_that_refuses_them_is_not_sent_them_again(here, wide):
    served = VLLM(here, tiles=False)
    with InThread(served) as server:
        vllm = connect(server.url, check=False)
        expected = here.compare(wide, "Hi", whole=True, max_new_tokens=4)
        told = vllm.compare(wide, "Hi", whole=True, max_new_tokens=4)
        assert (told.base.text, told.facellm.text) == (expected.base.text, expected.facellm.text)
        refused = len([words for words in served.words if words])
        assert 1 <= refused <= 2
        vllm.ask(wide, "Hi", whole=True, max_new_tokens=4)
        assert len([words for words in served.words if words]) == refused
        with pytest.raises(FaceLLMError, match="Extra inputs are not permitted"):
            vllm.ask(wide, "Hi", whole=True, tiles=4, max_new_tokens=4)
        vllm.close()
        again = connect(server.url, check=False)  # learnt from a profile too
        assert again.profile(wide, whole=True).fields
        again.close()


def test_a_server_that_mixes_its_models_up_is_asked_one_at_a_time(here, photo, caplog):
    served = VLLM(here, mixing=True)
    with InThread(served) as server:
        careless = connect(server.url, check=False)
        careless.compare(photo, "Hi", whole=True, max_new_tokens=4)
        assert served.mixed == 1
        careless.close()
        vllm = connect(server.url)
        assert vllm.apart and "mixes base and FaceLLM up" in vllm.report.notes[0] and "mixes base" in caplog.text
        seen = served.mixed
        told, expected = [m.compare(photo, "Hi", whole=True, max_new_tokens=4) for m in (vllm, here)]
        assert (told.base.text, told.facellm.text) == (expected.base.text, expected.facellm.text)
        with ThreadPoolExecutor() as pool:  # and so are visitors who come together
            profiles = pool.submit(vllm.profiles, photo, ["facellm"], whole=True)
            asked = [pool.submit(vllm.ask, photo, "Hi", variant=v, whole=True, max_new_tokens=4) for v in VARIANTS]
            assert [a.result().text for a in asked] == [expected.base.text, expected.facellm.text]
            assert profiles.result()["facellm"].fields
        assert served.mixed == seen
        vllm.close()


def test_a_turn_is_not_waited_for_once_a_call_is_stopped():
    turns, stop = Turns(), threading.Event()
    with turns.of("base"), turns.of("base"):  # side by side
        stop.set()
        with turns.of("facellm", stop), turns.of("base"):
            pass
    with turns.of("facellm"):
        pass


def folder_of(place, fields, temperatures):
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"facellm": {"label_set": "utkface", "fields": fields}}))
    (place / "calibration.json").write_text(json.dumps(temperatures))
    return place


TEMPERATURES = {"base": {"gender": 4.0, "ethnicity": 2.0}, "facellm": {"gender": 0.5, "ethnicity": 3.0}}
KEYS = ["gender", "ethnicity"]


@pytest.mark.parametrize("how", ["folder", "file", "environment", "told"])
def test_labels_fields_and_calibration_travel_with_a_model(here, photo, tmp_path, monkeypatch, how):
    folder, given = folder_of(tmp_path / "model", KEYS, TEMPERATURES), {}
    if how == "folder":
        given["folder"] = folder
    elif how == "file":
        given["folder"] = tmp_path / "known.json"
        given["folder"].write_text(json.dumps({**TEMPERATURES, "label_set": "utkface", "fields": KEYS}))
    elif how == "environment":
        monkeypatch.setenv(VARIABLE, str(folder))
    served = VLLM(here, root=str(folder) if how == "told" else "/nowhere/else")
    with InThread(served) as server:
        vllm = connect(server.url, check=False, **given)
        found = vllm.profiles(photo, whole=True)
        vllm.close()
    fields = {f.key: f.for_label_set("utkface") for f in FIELDS if f.key in KEYS}
    for variant, profile in found.items():
        assert profile.calibrated and list(profile.fields) == KEYS
        assert list(profile.fields["ethnicity"]) == list(ETHNICITIES)
        for key, field in fields.items():
            scores = here.engine.score(photo, field.question, field.labels, variant)
            expected = softmax(scores, TEMPERATURES[variant][key])
            assert list(profile.fields[key].values()) == pytest.approx(expected, abs=1e-4)
    assert set(served.asked) == {f.question for f in fields.values()}  # no other field


def test_what_a_model_was_not_trained_on_is_not_asked_here_either(folders, photo, tmp_path):
    import shutil

    from facellm import load

    folder = tmp_path / "taught"
    shutil.copytree(folders.base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "facellm": {"fields": ["pose", "gender"]}}))
    model = load(str(folder), device="cpu", dtype="float32")
    assert set(model.profile(photo, "base", whole=True).fields) == {"pose", "gender"}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"fields": "pose"}, "are no list of the profile's keys"),
        ({"fields": [1]}, "are no list of the profile's keys"),
        ({"fields": []}, 'declares no "fields" at all'),
        ({"answers": {"glasses": 1}}, "are no list of intents"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_a_sentence(told, sentence):
    with pytest.raises(FaceLLMError, match=sentence):
        read_declared({"facellm": told}, "config.json")
    with pytest.raises(FaceLLMError, match="declares the label set 'zebra'"):
        read_declared({"facellm": {"label_set": "zebra"}}, "config.json")


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(FaceLLMError, match="There is no folder or file"):
        knowledge_in(tmp_path / "none")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(FaceLLMError, match="cannot be read as JSON"):
        knowledge_in(tmp_path / "broken.json")

"""A model behind a server answers as it does here, stops when told, and fails with sentences."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from facellm import ATTRIBUTES, FaceLLMError, connect
from facellm.api import FaceLLM
from facellm.cli.main import main
from facellm.client.answers import data_uri
from facellm.client.likelihoods import label_score
from facellm.client.transport import _events
from facellm.engine.sampling import Sampling
from facellm.results import VARIANTS, Row
from facellm.server.app import make_app
from facellm.weights.registry import NANO, Declared
from tests import tiny
from tests.served import VLLM, InThread, Moody, wait_until

LONG = Sampling(max_new_tokens=1500)  # the tiny model rarely ends an answer by itself


@pytest.fixture(scope="module")
def remote(server):
    model = connect(server.url, check=False)
    yield model
    model.close()


def test_answers_are_those_of_the_local_model(here, remote, photo):
    assert remote.variants == here.variants == VARIANTS
    view = here.view(photo, whole=True)
    rows = [Row(w, a.question, key=a.key) for w in VARIANTS for a in ATTRIBUTES[:3]]
    rows += [
        Row("facellm", "Why?", history=(("Is the mouth open?", "It is closed."),), system="Be brief."),
        Row("base", "Why?", seed=5),
    ]
    texts = [""] * len(rows)
    answers = {}
    sampling = Sampling(max_new_tokens=12)
    for delta in remote.stream(view, rows, sampling):
        texts[delta.row] += delta.text
        if delta.done:
            answers[delta.row] = delta.answer
    for i, expected in enumerate(here.engine.answer(view.image, rows, sampling)):
        told = answers[i]
        assert (told.text, told.tokens, told.finish_reason) == (expected.text, expected.tokens, expected.finish_reason)
        assert (told.variant, told.key, told.question, told.seed) == (
            expected.variant,
            expected.key,
            expected.question,
            expected.seed,
        )
        assert texts[i] == told.text and told.first_token_seconds <= told.seconds


def test_sampled_answers_depend_on_the_seed_alone(here, remote, photo):
    settings = {"temperature": 1.5, "max_new_tokens": 12, "whole": True}
    told = [remote.ask(photo, "Hi", seed=seed, **settings).text for seed in (3, 3, 4)]
    assert told[0] == told[1] != told[2]
    assert told[0] == here.ask(photo, "Hi", seed=3, **settings).text


def test_describe_compare_and_report(here, remote, photo):
    report = remote.describe(photo, "pose,detail", max_new_tokens=3)
    expected = here.describe(photo, "pose,detail", max_new_tokens=3)
    assert [a.text for a in report.answers] == [a.text for a in expected.answers]
    assert report.notice == expected.notice and "No face" in report.notice
    both = remote.compare(photo, "Hi", whole=True, max_new_tokens=4)
    assert both.to_dict()["base"]["text"] == here.ask(photo, "Hi", variant="base", whole=True, max_new_tokens=4).text
    card = remote.report.to_dict()
    assert card["device"] == "remote" and card["dtype"] == "float32" and card["sharing"] == "one batch"
    assert json.loads(json.dumps(card)) == card and remote.backend.api in str(remote.report)


def test_profiles_are_those_of_the_local_model(here, remote, photo):
    told = remote.profiles(photo)
    for variant, expected in here.profiles(photo).items():
        assert told[variant].notice == expected.notice and told[variant].calibrated == expected.calibrated
        assert told[variant].fields.keys() == expected.fields.keys()
        for key, labels in expected.fields.items():
            assert told[variant].fields[key] == pytest.approx(labels, abs=1e-6)


def test_the_fields_that_a_model_declares_are_known_over_its_server(loaded, remote, here, photo):
    assert remote.fields == here.fields
    declared = FaceLLM(replace(loaded, declared=Declared("utkface", ("gender", "glasses"), ("hair",))))
    with InThread(make_app(declared)) as server:
        there = connect(server.url, check=False)
        assert there.answers == ("hair",) and remote.answers == ()
        assert [field.key for field in there.fields] == ["gender", "glasses"] == list(there.profile(photo).fields)


def test_profiles_by_way_of_vllms_prompt_logprobs(here, photo):
    with InThread(VLLM(here)) as server:
        vllm = connect(server.url, check=False)
        assert vllm.names == {"base": "InternVL3-tiny", "facellm": "face"}
        told, expected = vllm.profile(photo, whole=True), here.profile(photo, whole=True)
        assert not told.calibrated
        for key, labels in expected.fields.items():
            assert told.fields[key] == pytest.approx(labels, abs=1e-5)
        assert vllm.ask(photo, "Hi", whole=True, max_new_tokens=4).text == (
            here.ask(photo, "Hi", whole=True, max_new_tokens=4).text
        )
        vllm.close()


def test_a_base_under_both_names_is_noticed(here, caplog):
    with InThread(VLLM(here, broken=True)) as broken, InThread(VLLM(here)) as well:
        warned = connect(broken.url)
        assert "the same answers" in warned.report.notes[0] and "the same answers" in caplog.text
        good = connect(well.url)
        assert good.report.notes == ()
        warned.close()
        good.close()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_stopping_reaches_the_server(server, remote, photo, how):
    counts = server.app.state.service.counts
    before = counts.cancelled
    cancel = threading.Event()
    stream = remote.stream(remote.view(photo, whole=True), [Row(w, "Hi") for w in VARIANTS], LONG, cancel)
    first = next(stream)
    assert first.text and not first.done
    if how == "cancel":
        cancel.set()
        ended = {d.row: d.answer for d in stream if d.done}
        assert {a.finish_reason for a in ended.values()} == {"cancelled"} and len(ended) == 2
        assert ended[first.row].text.startswith(first.text)
    else:
        stream.close()
    wait_until(lambda: counts.active == 0)
    assert counts.cancelled == before + 2
    assert remote.ask(photo, "Hi", whole=True, max_new_tokens=2).tokens == 2


def test_a_stream_cancelled_before_it_begins_asks_nothing(server, remote, photo):
    cancel = threading.Event()
    cancel.set()
    counts = server.app.state.service.counts
    before = counts.answered + counts.cancelled
    (delta,) = remote.stream(remote.view(photo, whole=True), [Row("base", "Hi")], LONG, cancel)
    assert delta.done and delta.answer.finish_reason == "cancelled" and delta.answer.text == ""
    wait_until(lambda: counts.active == 0)
    assert counts.answered + counts.cancelled - before <= 1


def test_a_server_that_dies_in_mid_answer_and_comes_back(folders, here, photo, quick):
    command = [sys.executable, "-m", "facellm", "serve", "--port", "0", "--device", "cpu", "--dtype", "float32"]
    command += ["--model", str(folders.base), "--adapter", str(folders.adapter)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"is served at (http://127.0.0.1:(\d+)/v1) as base, facellm", line)
            assert found, line + process.stderr.read()
            away = connect(found[1], check=False)
            assert away.health().ok and "answers in" in str(away.health())
            stream = away.stream(away.view(photo, whole=True), [Row("facellm", "Hi")], LONG)
            assert next(stream).text
            process.send_signal(signal.SIGKILL)
            with pytest.raises(FaceLLMError, match="broke off in mid-answer"):
                list(stream)
        finally:
            process.kill()
    assert not away.health().ok and "cannot be reached" in away.health().message
    with pytest.raises(FaceLLMError, match=r"cannot be reached .*; ask again when it is back"):
        away.ask(photo, "Hi", whole=True)
    with InThread(make_app(here), int(found[2])):
        assert away.health().ok
        told = away.ask(photo, "Hi", whole=True, max_new_tokens=5)
        assert told.text == here.ask(photo, "Hi", whole=True, max_new_tokens=5).text
        away.close()


@pytest.mark.parametrize(
    ("moods", "asked", "says"),
    [
        ((503, 429, "Fine"), 3, None),
        (("empty", "Fine"), 2, None),
        ((503,), 4, "status 503: mood 503; ask again later"),
        ((400, "Fine"), 1, "status 400: mood 400"),
        ((401, "Fine"), 1, "refuses the key.*FACELLM_BACKEND_KEY"),
        (("cut", "Fine"), 1, "broke off in mid-answer"),
        (("garbage", "Fine"), 1, "not OpenAI's JSON"),
        (("error", "Fine"), 1, "says: out of memory"),
    ],
)
def test_what_is_tried_again(photo, quick, moods, asked, says):
    moody = Moody(*moods)
    with InThread(moody) as server:
        model = connect(server.url, check=False)
        with contextlib.nullcontext() if says is None else pytest.raises(FaceLLMError, match=says):
            assert model.ask(photo, "Hi", whole=True).text == "Fine"
        assert moody.asked == asked
        model.close()


def test_a_server_that_tells_no_likelihoods_gives_no_profile(photo):
    with InThread(Moody("Fine")) as server:
        model = connect(server.url, check=False)
        assert model.variants == ("facellm",)
        with pytest.raises(FaceLLMError, match="gives no probabilities"):
            model.profile(photo, whole=True)
        with pytest.raises(FaceLLMError, match="'base' is not served"):
            model.compare(photo, "Hi", whole=True)
        model.close()
    with pytest.raises(FaceLLMError, match=r"does not tell how likely .*prompt_logprobs"):
        label_score({"choices": []}, "open", "here")
    other = [{"1": {"logprob": -1.0, "decoded_token": "shut"}}, {"2": {"logprob": 0.0, "decoded_token": "<|im_end|>"}}]
    with pytest.raises(FaceLLMError, match="as other tokens"):
        label_score({"prompt_logprobs": other}, "open", "here")


def test_the_command_line_asks_a_server(server, here, photo, tmp_path, capsys):
    file = tmp_path / "p.png"
    photo.save(file)

    def cli(*arguments):
        out = io.StringIO()
        code = main([*arguments, "--backend-url", server.url], out)
        return code, out.getvalue(), capsys.readouterr().err

    code, out, _ = cli("ask", str(file), "Hi", "--whole-image", "--json", "--max-new-tokens", "4")
    told = json.loads(out)
    assert code == 0 and told["model"]["device"] == "remote"
    assert told["answers"][0]["text"] == here.ask(photo, "Hi", whole=True, max_new_tokens=4).text
    code, out, _ = cli("profile", str(file), "--base")
    assert code == 0 and "Age group: " in out
    code, out, err = cli("ask", str(file), "Hi", "--device", "cpu")
    assert (code, out) == (2, "") and "--device cannot be chosen for a server" in err


def test_large_images_are_reduced_before_they_travel():
    small, large = tiny.picture(1, 300), tiny.picture(1, 1800)
    assert data_uri(small).startswith("data:image/png;base64,")
    assert len(data_uri(large)) < len(data_uri(large.resize((897, 897)))) * 1.1
    assert data_uri(large, tiles=6).startswith("data:image/jpeg;base64,") and large.size == (1800, 1800)


def test_all_questions_about_one_image_carry_its_digest(photo):
    moody = Moody("Fine")
    with InThread(moody) as server:
        model = connect(server.url, check=False)
        model.describe(photo, "pose,detail,skin", whole=True)
        assert moody.asked == 3 and len(moody.images) == 1
        model.ask(tiny.picture(9), "Hi", whole=True)
        assert len(moody.images) == 2
        model.close()


def test_adapters_have_the_keys_that_vllm_maps():
    """vLLM takes "base_model.model." off and turns "model.language_model." into its own "language_model.model."."""
    from facellm.weights.checkpoint import tensor_shapes

    layer = r"(self_attn\.[qkvo]|mlp\.(gate|up|down))_proj"
    form = re.compile(rf"base_model\.model\.model\.language_model\.layers\.\d+\.{layer}\.lora_[AB]\.weight")
    keys = tensor_shapes(NANO / "adapter" / "adapter_model.safetensors")
    assert keys and all(form.fullmatch(key) for key in keys)
    config = json.loads((NANO / "adapter" / "adapter_config.json").read_text())
    assert config["bias"] == "none" and not config["use_dora"] and not config["modules_to_save"]


def test_server_sent_events():
    import asyncio

    async def lines():
        for line in ("data: a", "data:b", "", ": comment", "event: x", "", "data: c", "", "", "data: last"):
            yield line

    async def read():
        return [data async for data in _events(lines())]

    assert asyncio.run(read()) == ["a\nb", "c", "last"]


def test_importing_it_needs_no_torch():
    code = "import sys, facellm\nfacellm.connect\nprint(sorted({'torch', 'transformers', 'openai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr

"""The teacher's client against a server that misbehaves: what is tried again, what ends the run, what is waited for."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest

from facellm.attributes import ATTRIBUTES
from facellm.errors import FaceLLMError
from tests.train.teachers.teacher_server import ANSWERS, TeacherServer, write_faces
from train.faces.label_rows import read_labels
from train.teachers import faults as teacher_faults
from train.teachers import openai, prompt, rate_limits
from train.teachers import price as teacher_price
from train.teachers.faults import NoReply
from train.teachers.openai import Settings, Teacher
from train.teachers.plan import Plan, data_url

QUESTION = ATTRIBUTES[2].question  # skin
KEY = "sk-test-not-a-real-key"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.01)
    server = TeacherServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder, 1)
    (row,) = read_labels(folder).rows
    return data_url(row.path, row.digest)


def ask(server, image, times=1, **settings):
    """(reply, faults) of one question, or the replies of several at once."""
    faults = []

    async def run():
        options = {"model": "gpt-4o-2024-11-20", "base_url": server.url, "timeout": 60.0, "tries": 4} | settings
        async with Teacher(Settings(**options), 8, lambda kind, text: faults.append((kind, text))) as teacher:
            return await asyncio.gather(*(teacher.ask("Be exact.", QUESTION, image) for _ in range(times)))

    replies = asyncio.run(run())
    return (replies[0] if times == 1 else replies), faults


def first(*actions):
    """Each action once, then good answers."""
    left = list(actions)
    return lambda asked: left.pop(0) if left else None


def test_request_and_reply(server, image):
    reply, faults = ask(server, image, seed=7, detail="low", max_tokens=99)
    assert (reply.text, reply.finish_reason, reply.refusal, faults) == (ANSWERS["skin"], "stop", None, [])
    assert reply.usage["prompt_tokens"] == 1000 and reply.raw["id"] == "chatcmpl-1"
    (body,) = server.requests
    assert (body["seed"], body["max_tokens"], body["model"]) == (7, 99, "gpt-4o-2024-11-20")
    assert "temperature" not in body
    assert body["messages"][0] == {"role": "system", "content": "Be exact."}
    assert body["messages"][1]["content"][1]["image_url"]["detail"] == "low"
    assert server.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (("status", 429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), "rate limit"),
        (("status", 500, {"error": {"message": "oops"}}), "status 500"),
        (("status", 503, b"<html>busy</html>"), "status 503"),
        (("cut",), "connection"),
        (("raw", b'{"choices": [{"mess', "application/json"), "malformed"),
        (("raw", b"<html>a proxy</html>", "text/html"), "malformed"),
        (("raw", b'{"choices": []}', "application/json"), "malformed"),
    ],
)
def test_faults_are_tried_again(server, image, action, kind):
    server.behave = first(action, action)
    reply, faults = ask(server, image)
    assert reply.text == ANSWERS["skin"]
    assert [found for found, _ in faults] == [kind, kind]
    assert len(server.requests) == 3  # the client library tries nothing on its own


def test_a_hanging_server_is_left(server, image):
    server.behave = first(("hang", 60))
    began = time.monotonic()
    reply, faults = ask(server, image, timeout=1.0, tries=50)
    assert reply.text == ANSWERS["skin"]
    assert {kind for kind, _ in faults} == {"timeout"}  # more than one where the machine itself takes a second
    assert time.monotonic() - began >= 1.0


def test_retry_after_is_kept_by_everyone(server, image):
    """One request is told to wait a second: it does, and so do those that start after it."""
    times = []

    def behave(asked):
        times.append(time.monotonic())
        if len(times) == 1:
            return "status", 429, {"error": {"message": "slow"}}, {"Retry-After": "1"}
        return None

    server.behave = behave

    async def run():
        settings = Settings("gpt-4o-mini", server.url)
        async with Teacher(settings, 8, lambda *_: None) as teacher:
            one = asyncio.create_task(teacher.ask("", QUESTION, image))
            while teacher.limits.open_at == 0:
                await asyncio.sleep(0.01)
            await asyncio.gather(one, teacher.ask("", QUESTION, image))

    asyncio.run(run())
    assert len(times) == 3
    assert min(times[1:]) - times[0] >= 0.95


def test_used_up_minute_is_waited_for(server, image):
    server.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "700ms"}

    async def run():
        async with Teacher(Settings("gpt-4o-mini", server.url), 8, lambda *_: None) as teacher:
            await teacher.ask("", QUESTION, image)
            began = time.monotonic()
            await teacher.ask("", QUESTION, image)
            return time.monotonic() - began

    assert asyncio.run(run()) >= 0.6


def test_forms_of_retry_after():
    wait = teacher_faults.retry_after
    assert wait({}) == 0 and wait({"retry-after": "nonsense"}) == 0
    assert wait({"retry-after": "2.5"}) == 2.5
    assert wait({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert 25 < wait({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert wait({"retry-after": formatdate(time.time() - 30, usegmt=True)}) == 0
    assert teacher_faults.duration("1m2.5s") == 62.5 and teacher_faults.duration("20ms") == 0.02


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (("status", 429, {"error": {"message": "no more", "code": "insufficient_quota"}}), "no quota left"),
        (("status", 429, {"error": {"message": "no more", "type": "insufficient_quota"}}), "no quota left"),
        (("status", 402, {"error": {"message": "pay"}}), "no quota left"),
        (("status", 401, {"error": {"message": f"Incorrect API key: {KEY}"}}), "refuses the key"),
        (("status", 404, {"error": {"message": "gone", "code": "model_not_found"}}), "has no model"),
        (("status", 429, {"error": {"message": "slow"}}, {"Retry-After": "7200"}), "120 minutes"),
    ],
)
def test_what_ends_the_run_at_once(server, image, action, sentence):
    server.behave = lambda asked: action
    with pytest.raises(FaceLLMError, match=sentence) as caught:
        ask(server, image)
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)


def test_a_refused_request_is_not_repeated(server, image):
    server.behave = first(("status", 400, {"error": {"message": "bad image"}}))
    with pytest.raises(NoReply, match="bad image"):
        ask(server, image)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("content_policy_violation", "Your input may contain content that is not allowed", "refused"),
        ("content_filter", "The response was filtered due to our content management policy", "refused"),
        (None, "Your request was rejected as a result of our safety system", "refused"),
        ("invalid_image_format", "You uploaded something unsupported", "refused"),
        (None, "cannot identify image file", "refused"),
        (None, "Unsupported parameter: 'max_tokens'", "rejected"),
        ("context_length_exceeded", "This model's maximum context length is 4096 tokens", "rejected"),
    ],
)
def test_what_a_400_is_about(code, message, kind):
    fault = teacher_faults.fault_of(400, code, "invalid_request_error", message, None, "m")
    assert fault.kind == kind and not fault.again


def test_tries_end(server, image):
    server.behave = lambda asked: ("status", 500, {"error": {"message": "down"}})
    with pytest.raises(NoReply):
        ask(server, image, tries=3)
    assert len(server.requests) == 3


def check_model(server_url, model):
    async def run():
        async with Teacher(Settings(model, server_url, timeout=60), 1, lambda *_: None) as teacher:
            return await teacher.check_model()

    return asyncio.run(run())


def test_model_is_looked_up(server):
    assert check_model(server.url, "gpt-4o-mini") is None
    with pytest.raises(FaceLLMError, match=r"no model 'gpt-4o-2024-05-13'.*gpt-4o-2024-11-20, gpt-4o-mini"):
        check_model(server.url, "gpt-4o-2024-05-13")
    server.models = None
    assert "does not list its models" in check_model(server.url, "mine")
    with pytest.raises(FaceLLMError, match="cannot be reached"):
        check_model("http://127.0.0.1:9/v1", "mine")


def test_openai_needs_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(FaceLLMError, match="OPENAI_API_KEY"):
        openai.read_key(openai.OPENAI_URL)
    assert openai.read_key("http://127.0.0.1:1/v1") == "none"


def test_prices():
    price = teacher_price.price_of("gpt-4o-2024-11-20")
    assert price == teacher_price.PRICES["gpt-4o"]
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": 400}}
    assert price.cost(usage) == pytest.approx((600 * 2.5 + 400 * 1.25 + 200 * 10) / 1e6)
    for unknown in (None, {}, [], {"total_tokens": 9}, {"prompt_tokens": 0, "completion_tokens": 0}):
        assert price.cost(unknown) is None
    assert teacher_price.price_of("mine") is None
    assert teacher_price.price_of("mine", "1,3").cost(usage) == pytest.approx(0.0016)
    assert teacher_price.price_of("mine", "1,0.5,3").cost(usage) == pytest.approx(0.0014)
    assert price.by_batch().cost(usage) == pytest.approx(price.cost(usage) / 2)
    for text in ("1", "a,b", "-1,2", "1,nan", "1,2,3,4"):
        with pytest.raises(FaceLLMError, match="--price"):
            teacher_price.price_of("mine", text)


@pytest.mark.parametrize("model", [*teacher_price.PRICES, "mine"])
@pytest.mark.parametrize("detail", ["low", "high", "auto"])
def test_no_image_is_dearer_than_the_one_that_max_cost_reckons_with(model, detail):
    sizes = [*range(16, 2049, 16), 767, 769, 2047]
    dearest = max(teacher_price.image_tokens(w, h, detail, model) for w in sizes for h in sizes)
    assert teacher_price.image_tokens(*teacher_price.DEAREST_IMAGE, detail, model) == dearest
    plan = Plan([], ATTRIBUTES, Settings(model, detail=detail, max_tokens=100), teacher_price.Price(1.0, 1.0, 10.0))
    assert plan.dearest("") * 1e6 == pytest.approx(teacher_price.text_tokens(prompt.SYSTEM) + dearest + 10 * 100)


@pytest.mark.parametrize(
    ("size", "detail", "tokens"),
    [((1024, 1024), "high", 765), ((2048, 4096), "high", 1105), ((224, 224), "high", 255), ((4096, 8192), "low", 85)],
)
def test_image_tokens_of_the_published_examples(size, detail, tokens):
    assert teacher_price.image_tokens(*size, detail) == tokens


@pytest.mark.parametrize(
    ("model", "size", "detail", "tokens"),
    [
        # What users were billed for a 128 x 64 px image, less the twelve tokens of the text beside it.
        ("gpt-4o-2024-11-20", (128, 64), "low", 85),
        ("gpt-4.1-2025-04-14", (128, 64), "high", 255),
        ("gpt-4o-mini-2024-07-18", (128, 64), "low", 2833),
        ("gpt-4o-mini-2024-07-18", (128, 64), "high", 8500),
        ("gpt-4.1-mini-2025-04-14", (128, 64), "high", 13),
        # And for one with more patches than are counted.
        ("gpt-4.1-mini", (4000, 1474), "high", 2489),
    ],
)
def test_image_tokens_by_model(model, size, detail, tokens):
    assert teacher_price.image_tokens(*size, detail, model) == tokens


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_bucket_fills_at_the_limits_rate():
    clock = Clock()
    bucket = rate_limits.Bucket(clock)
    assert bucket.wait(1e9) == 0  # no limit is known
    bucket.update("600", "600")  # ten a second
    for _ in range(600):
        assert bucket.wait(1) == 0
        bucket.take(1)
    assert bucket.wait(1) == pytest.approx(0.1)
    clock.now += 3
    assert bucket.wait(30) == pytest.approx(0)
    assert bucket.wait(40) == pytest.approx(1)
    bucket.update("600", "5")  # somebody else uses the account as well
    assert bucket.wait(30) == pytest.approx(2.5)
    bucket.update("nonsense", None)
    clock.now += 3600
    assert bucket.wait(600) == 0 and bucket.wait(9999) == 0  # more than a minute's worth is taken from a full bucket
    bucket.take(9999)
    assert bucket.wait(1) > 900


def test_requests_are_spread_by_the_servers_limits(server, image):
    """The tokens of every request are taken from what the server says is left of the minute's."""
    server.headers = {"x-ratelimit-limit-tokens": "100000", "x-ratelimit-remaining-tokens": "60000"}

    async def run():
        async with Teacher(Settings("gpt-4o-mini", server.url), 8, lambda *_: None) as teacher:
            await teacher.ask("", QUESTION, image, tokens=1000)
            wait = teacher.limits.buckets["tokens"].wait
            assert wait(59_000) == 0 and wait(80_000) > 9
            assert teacher.limits.buckets["requests"].limit is None
            await teacher.ask("", QUESTION, image, tokens=50_000)
            return wait(59_000)

    assert asyncio.run(run()) > 25


def test_shutdown_and_alternatives_are_told(server):
    server.shutdown = {"gpt-4o-mini": "2027-01-14"}
    server.last_words = {"gpt-4-old": "The model was shut down on 2025-06-06"}

    async def run(model):
        async with Teacher(Settings(model, server.url), 1, lambda *_: None) as teacher:
            return await teacher.check_model(("gpt-4o-2024-11-20", "not-here"))

    said = "The server will shut gpt-4o-mini down on 2027-01-14; it also has gpt-4o-2024-11-20."
    assert asyncio.run(run("gpt-4o-mini")) == said
    with pytest.raises(
        FaceLLMError, match=r"it says: The model was shut down on 2025-06-06\).*--model: gpt-4o-2024-11"
    ):
        asyncio.run(run("gpt-4-old"))

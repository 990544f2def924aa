"""Answers that are held to a JSON schema: they parse, whatever the model would say and whenever the budget ends."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facellm.engine.sampling import Sampling
from facellm.errors import FaceLLMError, ParameterError
from facellm.grammars.json_grammar import Grammars
from facellm.grammars.response_format import MAX_BYTES, schema_of
from facellm.results import Row
from tests.tiny import make_processor

TOKENIZER = make_processor().tokenizer
VOCABULARY = len(TOKENIZER) + 20  # models have logits that no token belongs to
END = TOKENIZER.eos_token_id
PERSON = {
    "type": "object",
    "properties": {
        "pose": {"type": "string", "enum": ["frontal", "left profile", "right profile"]},
        "open": {"type": "boolean"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["pose", "open", "age", "notes"],
    "additionalProperties": False,
}


def form(schema, name="face"):
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


@pytest.fixture(scope="module")
def grammars():
    return Grammars(TOKENIZER, VOCABULARY, [END])


def babble(grammar, seed, budget, ends=0.0):
    """The text of a model that chooses at random among what it may say; ends: how fond it is of ending."""
    numbers, ids = torch.Generator().manual_seed(seed), []
    for _ in range(budget):
        weights = torch.rand(VOCABULARY, generator=numbers)
        weights[END] += ends
        allowed = torch.from_numpy(grammar.allowed())
        assert not allowed[len(TOKENIZER) :].any()
        token = grammar.take(int(torch.where(allowed, weights, -1.0).argmax()))
        if token == END:
            break
        ids.append(token)
        if grammar.ended:
            break
    return TOKENIZER.decode(ids, clean_up_tokenization_spaces=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), budget=st.integers(50, 90))
def test_any_budget_that_is_long_enough_gives_a_whole_object(grammars, seed, budget):
    grammar = grammars.json(PERSON, budget)
    told = json.loads(babble(grammar, seed, budget))
    assert set(told) == {"pose", "open", "age", "notes"} and told["pose"] in PERSON["properties"]["pose"]["enum"]
    assert isinstance(told["open"], bool) and 0 <= told["age"] <= 120 and isinstance(told["notes"], list)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), budget=st.integers(4, 200))
def test_a_free_object_parses_too(grammars, seed, budget):
    grammar = grammars.json({"type": "object"}, budget)
    assert isinstance(json.loads(babble(grammar, seed, budget)), dict)


def test_a_budget_below_the_shortest_answer_is_used_up(grammars):
    grammar = grammars.json(PERSON, 5)
    assert not grammar.cut and not babble(grammar, 0, 5).endswith("}") and not grammar.ended


def test_what_the_budget_chose_is_told(grammars):
    text = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    short, whole = (grammars.json({**text, "additionalProperties": False}, n) for n in (12, 4000))
    assert json.loads(babble(short, 3, 12)) and short.cut
    assert json.loads(babble(whole, 3, 4000)) and not whole.cut


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "zebra"},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "string", "pattern": "("},
        {"type": "string", "minLength": 5, "maxLength": 2},
        {"type": "array", "uniqueItems": True},
    ],
)
def test_a_schema_that_cannot_be_used_gives_one_sentence(grammars, schema):
    with pytest.raises(ParameterError, match="schema of response_format cannot be used: ") as told:
        grammars.json(schema, 10)
    assert told.value.parameter == "response_format" and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"type": "xml"}, "must be"),
        ("json", "must be"),
        ({"type": "json_schema"}, "json_schema must be"),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": []}}, "json_schema must be"),
        (form({}, name="two words"), "name must be 1 to 64"),
        (form({"enum": ["x" * MAX_BYTES]}), "larger than 32 kB"),
        (form({"enum": [float("nan")]}), "plain JSON"),
    ],
)
def test_formats_that_are_none(given, says):
    with pytest.raises(ParameterError, match=says) as told:
        Sampling(response_format=given)
    assert told.value.parameter == "response_format"


def test_formats_nest_only_so_deep():
    schema = {"type": "string"}
    for _ in range(20):
        schema = {"type": "array", "items": schema}
    assert schema_of(form(schema)) == schema
    for _ in range(20):
        schema = {"type": "array", "items": schema}
    with pytest.raises(ParameterError, match="nested deeper"):
        schema_of(form(schema))


def test_formats_that_are_free():
    assert schema_of(None) is None and schema_of({"type": "text"}) is None
    assert schema_of({"type": "json_object"}) == {"type": "object"}


@pytest.mark.parametrize("variant", ["base", "facellm"])
def test_a_model_keeps_to_the_form_beside_one_that_is_free(engine, photo, variant):
    free = Row(variant, "Hi")
    alone = engine.answer(photo, [free], Sampling(max_new_tokens=30))[0]
    held = Sampling(80, 1.0, response_format=form(PERSON))
    streams = [
        engine.stream(photo, [free], Sampling(max_new_tokens=30)),
        engine.stream(photo, [Row(variant, "Hi", seed=s) for s in (1, 2)], held),
    ]
    answers = [[d.answer for d in stream if d.answer] for stream in streams]
    assert answers[0][0].text == alone.text
    told = [json.loads(a.text) for a in answers[1]]
    assert all(list(t) == list(PERSON["properties"]) for t in told) and told[0] != told[1]


def test_bad_schemas_are_found_before_anything_is_computed(engine, photo):
    with pytest.raises(FaceLLMError, match="cannot be used"):
        engine.stream(photo, [Row("base", "Hi")], Sampling(response_format=form({"type": "zebra"})))
    assert engine.scheduler.running == 0


def test_log_probabilities_are_the_models_own(engine, photo):
    sampling = Sampling(max_new_tokens=6, temperature=1.5, seed=3, repetition_penalty=1.3, top_logprobs=4)
    answer = engine.answer(photo, [Row("base", "Hi")], sampling)[0]
    assert len(answer.logprobs) == answer.tokens == 6
    assert bytes(b for t in answer.logprobs for b in t.bytes).decode(errors="ignore") == answer.text
    for place in answer.logprobs:
        values = [t.logprob for t in place.top]
        assert len(values) == 4 and values == sorted(values, reverse=True) and place.logprob <= values[0] + 1e-5
    greedy = engine.answer(photo, [Row("base", "Hi")], Sampling(max_new_tokens=6, top_logprobs=1))[0]
    score = engine.score(photo, "Hi", [greedy.text], "base")[0]
    assert (
        score < sum(t.logprob for t in greedy.logprobs) + 1e-3
        and greedy.logprobs[0].top[0].token == greedy.logprobs[0].token
    )
    assert "logprobs" not in engine.answer(photo, [Row("base", "Hi")], Sampling(max_new_tokens=2))[0].to_dict()


def test_names_that_a_schema_does_not_list_are_not_invented():
    inner = {"type": "object", "properties": {"properties": {"type": "string"}}}
    told = schema_of(form({"type": "object", "properties": {"a": inner, "b": {"items": inner}}, "$defs": {"c": inner}}))
    closed = {**inner, "additionalProperties": False}
    assert told["additionalProperties"] is False and told["$defs"]["c"] == closed
    assert told["properties"] == {"a": closed, "b": {"items": closed}}
    for schema in (
        {"type": "object"},
        {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"enum": [{"properties": {"a": 1}}]},
    ):
        assert schema_of(form(schema)) == schema

"""Names, revisions, and what `auto` takes."""

import pytest

from facellm import FaceLLMError
from facellm.weights.registry import GIB, MODELS, Device, choose, resolve, split_revision

# Parameters of the published InternVL3 models, in billions, from their model cards.
PUBLISHED = {"1b": 0.94, "2b": 2.09, "8b": 7.94, "14b": 15.1, "38b": 38.4}


def test_the_named_models():
    assert list(MODELS) == ["nano", "1b", "2b", "8b", "14b", "38b"]
    assert MODELS["8b"].base == "OpenGVLab/InternVL3-8B-hf"
    assert (MODELS["1b"].facellm, MODELS["1b"].subfolder) == ("Idiap/FaceLLM-1B", "model")
    assert [n for n, spec in MODELS.items() if spec.presumed] == ["38b"]
    assert [n for n, spec in MODELS.items() if not (spec.facellm or spec.adapter)] == ["2b", "14b"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_from_shapes_agree_with_the_model_cards(name):
    assert MODELS[name].parameters / 1e9 == pytest.approx(PUBLISHED[name], rel=0.03)


def test_nf4_memory_of_8b_is_what_design_measured():
    # 8B in NF4 reads 4.45 GB a token: decoder and head.
    spec = MODELS["8b"]
    assert (spec.decoder * 4.127 / 8 + 151_674 * 3584 * 2) / 1e9 == pytest.approx(4.45, rel=0.02)


@pytest.mark.parametrize(
    ("device", "name", "says"),
    [
        (Device("cpu"), "nano", "no GPU"),
        (Device("mps"), "1b", "Apple"),
        (Device("cuda", 80 * GIB, "H100"), "8b", "H100 has 80.0 GiB free"),
        (Device("cuda", 24 * GIB, "RTX 4090"), "8b", "needs"),
        (Device("cuda", 8 * GIB, "RTX 3070"), "1b", "1b needs"),
        (Device("cuda", 2 * GIB, "old"), "nano", "only 2.0 GiB"),
    ],
)
def test_auto(device, name, says):
    chosen, reason = choose(device)
    assert chosen == name
    assert says in reason


def test_auto_counts_what_will_be_opened():
    card = Device("cuda", 24 * GIB, "RTX 4090")
    assert choose(card, "none")[0] == "1b"  # base and FaceLLM in 16 bits take 32 GiB
    assert choose(card, "none", copies=1)[0] == "8b"
    assert choose(Device("cuda", 10 * GIB))[0] == "1b" and choose(Device("cuda", 10 * GIB), copies=1)[0] == "8b"


def test_a_revision_pins_facellm_or_else_the_base():
    pinned = resolve("8b@abc")
    assert (pinned.merged_revision, pinned.base_revision) == ("abc", None)
    tuned = resolve("8b@abc", "o/a@def")
    assert (tuned.base_revision, tuned.adapter_revision, tuned.merged) == ("abc", "def", None)
    assert resolve("2b@abc").base_revision == "abc"


def test_revisions(tmp_path):
    assert split_revision("a/b@v1") == ("a/b", "v1")
    assert split_revision("a/b") == ("a/b", None)
    odd = tmp_path / "x@y"
    odd.mkdir()
    assert split_revision(str(odd)) == (str(odd), None)
    assert resolve("o/m@abc", "o/a@def").adapter_revision == "def"
    with pytest.raises(FaceLLMError, match="write name or name@revision"):
        split_revision("a/b@")
    with pytest.raises(FaceLLMError, match="no revisions"):
        resolve("nano@abc")


def test_names(tmp_path):
    assert resolve("NANO").spec is MODELS["nano"]
    assert resolve(str(tmp_path)).base == str(tmp_path)
    assert resolve("8b", "me/mine").merged is None
    for wrong in ("9b", "/no/such/folder", "a/b/c", ""):
        with pytest.raises(FaceLLMError, match="neither a folder nor one of nano"):
            resolve(wrong)
    with pytest.raises(FaceLLMError, match="no adapter"):
        resolve("nano", "./nothing")

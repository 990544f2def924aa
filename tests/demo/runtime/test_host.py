"""The model's way onto the page: loading, failing, waiting; errors as sentences without this machine's paths."""

from __future__ import annotations

import threading

import pytest

from demo.runtime.host import Host, Status
from demo.runtime.options import Options
from demo.runtime.sentences import sentence, without_paths
from facellm.errors import FaceLLMError


def test_a_failure_becomes_a_sentence_and_can_be_tried_again(monkeypatch, model):
    def refuse(options):
        raise FaceLLMError("The hub cannot be reached.")

    monkeypatch.setattr(Options, "open", refuse)
    host = Host(Options())
    host.start()
    with pytest.raises(FaceLLMError, match="cannot be reached"):
        list(host.wait())
    assert host.status.state == "failed" and host.status.message == "The hub cannot be reached."
    monkeypatch.setattr(Options, "open", lambda options: model)
    host.start()
    list(host.wait())
    assert host.status.state == "ready" and host.model is model


def test_waiting_ends_when_the_visitor_stops():
    host = Host(Options())
    host._state = Status("loading", "Reading the weights", 3)
    cancel = threading.Event()
    waiting = host.wait(cancel, every=0.01)
    assert next(waiting).step == 3
    cancel.set()
    assert list(waiting) == []


def test_an_unusable_folder_does_not_tell_visitors_where_it_is(tmp_path, caplog):
    folder = tmp_path / "my models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "other"}')
    host = Host(Options(model=str(folder)))
    host.start()
    with pytest.raises(FaceLLMError) as caught:
        list(host.wait())
    for shown in (str(caught.value), host.status.message):
        assert str(tmp_path) not in shown and "my models" not in shown
    assert str(folder) in caplog.text, "the operator reads it in the log"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("There is no file '/home/ada/my photos/a.jpg': check it.", "There is no file 'a.jpg': check it."),
        ("Cannot read /srv/models/nano (not found).", "Cannot read nano (not found)."),
        (r"Cannot read C:\Users\ada\nano.", "Cannot read nano."),
        ("Folder /c/hub/models--Idiap--FaceLLM-1B/snapshots/0a1b: no.", "Folder Idiap/FaceLLM-1B: no."),
        ("/srv/my own models/nano is no model.", "nano is no model."),
        ("Give /srv/nano or http://a.example/b.", "Give nano or http://a.example/b."),
        ("Ask http://127.0.0.1:8000/v1 again.", "Ask http://127.0.0.1:8000/v1 again."),
        ("Give 1/2 or a and/or b.", "Give 1/2 or a and/or b."),
    ],
)
def test_sentences_keep_names_and_drop_paths(said, shown):
    assert without_paths(said) == shown and sentence(FaceLLMError(said)) == shown


def test_what_nobody_expected_is_a_reference_into_the_log(caplog):
    said = sentence(RuntimeError("secret at /srv/secret"))
    assert "secret" not in said and "reference" in said and "secret" in caplog.text

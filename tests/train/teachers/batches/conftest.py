"""A server with batches, and rows of a data set."""

from __future__ import annotations

import pytest

from tests.train.dataset.run.running import KEY
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.faces.label_rows import read_labels
from train.teachers import openai


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.001)
    server = TeacherServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder, 3)
    return read_labels(folder).rows

"""A teacher and some faces."""

from __future__ import annotations

import pytest

from tests.train.dataset.run.running import KEY
from tests.train.teachers.teacher_server import TeacherServer, write_faces
from train.teachers import openai


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(openai, "FIRST_WAIT", 0.01)
    server = TeacherServer()
    yield server
    server.close()


@pytest.fixture
def faces(tmp_path):
    write_faces(tmp_path / "faces", 6)
    return tmp_path / "faces"

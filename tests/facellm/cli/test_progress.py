"""How far a table is: a bar on a terminal, lines elsewhere."""

import io

from facellm.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, monkeypatch, every):
    monkeypatch.setattr("sys.stderr", stream)
    with Progress(5, done=2, every=every) as progress:
        for failed in (False, True, False):
            progress.add(failed)
    return stream.getvalue()


def test_a_bar_on_a_terminal(monkeypatch):
    shown = run(Terminal(), monkeypatch, 30)
    assert "2/5" in shown and "5/5" in shown and "photo/s" in shown and "failed=1" in shown and "facellm:" not in shown


def test_lines_elsewhere(monkeypatch):
    assert run(io.StringIO(), monkeypatch, 0).splitlines() == [
        "facellm: 2 of 5 photos",
        "facellm: 3 of 5 photos",
        "facellm: 4 of 5 photos, 1 of them could not be used",
        "facellm: 5 of 5 photos, 1 of them could not be used",
        "facellm: 5 of 5 photos, 1 of them could not be used",
    ]
    rare = run(io.StringIO(), monkeypatch, 3600).splitlines()
    assert rare == ["facellm: 2 of 5 photos", "facellm: 5 of 5 photos, 1 of them could not be used"]

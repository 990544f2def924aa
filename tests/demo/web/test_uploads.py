"""Where uploads lie, and that they are gone with their process, however it ends."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import stat
import time
from pathlib import Path

import httpx
import pytest

from demo.web import uploads
from facellm.errors import FaceLLMError
from facellm.server.ports import free_port
from tests.demo.web.apart import Apart, holds


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv(uploads.VARIABLE, str(tmp_path))
    return tmp_path


def test_the_folder_is_its_owners_alone_and_goes(base):
    with uploads.private_folder() as folder:
        assert folder.parent == base and uploads.folder_in_use() == folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "photo").write_bytes(b"photo")
    assert list(base.iterdir()) == [] and os.environ[uploads.VARIABLE] == str(base)


def test_only_folders_of_dead_processes_are_swept(base):
    with uploads.private_folder() as folder:
        dead = base / f"{folder.name.rsplit('-', 1)[0]}-dead"
        (dead / "deep").mkdir(parents=True)
        (dead / "deep" / "photo.jpg").write_bytes(b"photo")
        stranger = base / "facellm-of-somebody-else"
        stranger.mkdir()
        (base / f"{folder.name.rsplit('-', 1)[0]}-link").symlink_to(stranger)
        before = uploads.folder_in_use()
        os.environ[uploads.VARIABLE] = str(base)
        with uploads.private_folder() as second:
            assert not dead.exists() and stranger.exists() and before.exists() and second != before


def test_old_uploads_are_swept_with_their_folders_and_new_ones_stay(base):
    with uploads.private_folder() as folder:
        for name, age in (("old", 400), ("new", 100)):
            (folder / name).mkdir()
            (folder / name / "photo.jpg").write_bytes(b"photo")
            for path in (folder / name / "photo.jpg", folder / name):
                os.utime(path, (time.time() - age,) * 2)
        (folder / "half-sent").write_bytes(b"pho")
        os.utime(folder / "half-sent", (time.time() - 400,) * 2)
        uploads.sweep(folder)
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {"lock", "new/photo.jpg"}
        os.utime(folder / "old", (time.time() - 400,) * 2)  # emptying it made it new
        uploads.sweep(folder)
        assert not (folder / "old").exists() and (folder / "new").exists()


def test_no_folder_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(uploads.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(FaceLLMError, match="No folder for uploads"), uploads.private_folder():
        pass


def half_an_upload(url: str, content: bytes) -> http.client.HTTPConnection:
    """Sends the first half of a photo and stops there."""
    boundary = "b" * 20
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="face.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    connection = http.client.HTTPConnection(httpx.URL(url).host, httpx.URL(url).port, timeout=60)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(len(head) + 2 * len(content) + 100))
    connection.endheaders(head + content)
    return connection


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_after_sigkill_in_mid_upload_and_a_restart_no_byte_of_the_photo_is_left(tmp_path):
    whole, half = secrets.token_bytes(300_000), secrets.token_bytes(300_000)
    with Apart(tmp_path, "--port", "17861") as page:
        assert (
            httpx.post(
                timeout=120, url=f"{page.url}/gradio_api/upload", files={"files": ("face.jpg", whole)}
            ).status_code
            == 200
        )
        connection = half_an_upload(page.url, half)
        end = time.monotonic() + 60
        while not holds(page.temp, half[:64]):
            assert time.monotonic() < end, "the upload did not begin"
            time.sleep(0.05)
        assert holds(page.temp, whole[1000:1064])
        folder = next(page.temp.glob("facellm-*"))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        page.end(signal.SIGKILL)
        connection.close()
    with Apart(tmp_path, "--port", "17861") as page:
        assert not folder.exists()
        assert not holds(page.temp, half[:64]) and not holds(page.temp, whole[1000:1064])
        assert (
            httpx.post(
                timeout=120, url=f"{page.url}/gradio_api/upload", files={"files": ("face.jpg", whole)}
            ).status_code
            == 200
        )
        code, seconds = page.end(signal.SIGTERM)
        assert code == 0 and seconds < 10 and "Traceback" not in page.log.read_text()
    assert not holds(tmp_path, whole[1000:1064]) and not list(page.temp.glob("facellm-*"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="another user's folder takes root to make")
def test_a_shared_gradio_folder_of_another_user_is_not_touched(tmp_path):
    shared = tmp_path / "temp" / "gradio"
    shared.mkdir(parents=True)
    shared.chmod(0o755)
    with Apart(tmp_path, "--port", str(free_port("127.0.0.1", 17862))) as page:
        answer = httpx.post(timeout=120, url=f"{page.url}/gradio_api/upload", files={"files": ("face.jpg", b"photo")})
        assert answer.status_code == 200
        (path,) = answer.json()
        assert not Path(path).is_relative_to(shared) and list(shared.iterdir()) == []


def test_a_folder_that_another_process_removes_meanwhile_is_no_fault(base, monkeypatch):
    left = base / f"facellm-{os.getuid()}-dead"
    left.mkdir()

    def gone(self, **_):  # as another process that starts at the same moment sweeps it
        if self == left:
            left.rmdir()
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", gone)
        uploads.remove_abandoned(base, f"facellm-{os.getuid()}-")
    with uploads.private_folder() as folder:
        assert folder.is_dir() and not left.exists()

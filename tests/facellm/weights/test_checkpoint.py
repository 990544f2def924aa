"""Finding files, and one sentence for everything that is not a usable checkpoint."""

import json
import shutil

import httpx
import pytest
from huggingface_hub import errors

from facellm import FaceLLMError
from facellm.weights import checkpoint as cp


def fake_hub(monkeypatch, error):
    def snapshot_download(*args, local_files_only=False, **kwargs):
        raise errors.LocalEntryNotFoundError("not here") if local_files_only else error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)


def response(status):
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/o/m"))


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (errors.GatedRepoError("g", response=response(403)), cp.Unavailable, "accept its terms.*set HF_TOKEN"),
        (errors.HfHubHTTPError("x", response=response(401)), cp.Unavailable, "refused .401.*HF_TOKEN"),
        (errors.RepositoryNotFoundError("n", response=response(404)), cp.NotFound, "not on the Hugging Face hub"),
        (errors.RevisionNotFoundError("r", response=response(404)), cp.Unavailable, "no revision 'v9'"),
        (errors.LocalEntryNotFoundError("l"), cp.Unreachable, "cannot be reached"),
        (errors.OfflineModeIsEnabled("o"), cp.Unreachable, "cannot be reached"),
        (ConnectionError("c"), cp.Unreachable, "cannot be reached"),
        (OSError("disk full"), cp.Unreachable, "disk full"),
        (httpx.ProxyError("no proxy"), cp.Unreachable, "ProxyError: no proxy.*--model nano"),
        (httpx.ReadError("cut off"), cp.Unreachable, "ReadError: cut off"),
        (RuntimeError("hf_xet gave up"), cp.Unreachable, "hf_xet gave up"),
    ],
)
def test_hub_errors_are_sentences(monkeypatch, error, kind, says):
    fake_hub(monkeypatch, error)
    with pytest.raises(FaceLLMError, match=says) as caught:
        cp.fetch("o/m", "v9")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["my models/facellm", "owner/name.git", "a/b--c"])
def test_names_that_the_hub_cannot_have_are_a_sentence(name):
    with pytest.raises(FaceLLMError, match="neither a folder nor a name that the Hugging Face hub can have"):
        cp.fetch(name)


def test_a_download_is_announced_and_a_cached_model_is_not(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    cached = []

    def snapshot_download(name, revision, allow_patterns, local_files_only=False):
        if local_files_only and name not in cached:
            raise errors.LocalEntryNotFoundError("not here")
        assert cached or caplog.messages == ["Fetching o/m ..."]  # said before it begins
        return tmp_path

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    cp.fetch("o/m")
    cached.append("o/m")
    cp.fetch("o/m")
    assert caplog.messages == ["Fetching o/m ..."]


def test_only_needed_files_are_fetched(monkeypatch, tmp_path):
    seen = {}

    def snapshot_download(name, revision, allow_patterns):
        seen.update(name=name, revision=revision, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert cp.model_folder("o/m", "v1", "model") == tmp_path / "model"
    assert seen["revision"] == "v1"
    assert "model/*.safetensors" in seen["patterns"]
    assert not any(p.endswith((".bin", ".py", "*")) for p in seen["patterns"])


def test_a_cached_model_opens_offline_and_knows_its_commit(monkeypatch, folders, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--o--tiny"
    snapshot = repo / "snapshots" / commit
    shutil.copytree(folders.base, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    folder = cp.model_folder("o/tiny")
    assert folder == snapshot
    assert cp.commit_of(folder) == commit
    assert cp.commit_of(folders.base) is None


def test_the_subfolder_is_found(folders):
    assert cp.model_folder(str(folders.merged)) == folders.merged / "model"
    assert cp.adapter_or_merged(str(folders.merged)) == (None, folders.merged / "model")
    assert cp.adapter_or_merged(str(folders.adapter)) == (folders.adapter, None)


def test_folders_that_hold_no_model(folders, tmp_path):
    with pytest.raises(FaceLLMError, match="missing or empty"):
        cp.model_folder(str(tmp_path))
    with pytest.raises(FaceLLMError, match="missing or empty"):
        cp.model_folder(str(tmp_path / "gone"))
    with pytest.raises(FaceLLMError, match="give this as --adapter"):
        cp.model_folder(str(folders.adapter))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FaceLLMError, match=r"config\.json is missing"):
        cp.model_folder(str(tmp_path))
    with pytest.raises(FaceLLMError, match=r"neither adapter_config\.json nor config\.json"):
        cp.adapter_or_merged(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "architecture is LlamaForCausalLM"),
        ({"model_type": "internvl_chat", "architectures": ["InternVLChatModel"]}, "ends in -hf"),
        ({}, "unnamed"),
        ([], "does not hold a JSON object"),
    ],
)
def test_other_architectures_are_named(tmp_path, config, says):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FaceLLMError, match=says):
        cp.check(tmp_path)


def test_only_safetensors_are_opened(folders, tmp_path):
    shutil.copy(folders.base / "config.json", tmp_path)
    with pytest.raises(FaceLLMError, match="holds no weights"):
        cp.check(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(FaceLLMError, match=r"only pytorch_model\.bin; convert"):
        cp.check(tmp_path)
    shutil.copy(folders.adapter / "adapter_config.json", tmp_path)
    with pytest.raises(FaceLLMError, match=r"no adapter_model\.safetensors"):
        cp.adapter_or_merged(str(tmp_path))


def test_headers_and_sizes(folders, tmp_path):
    shapes = cp.tensor_shapes(folders.adapter / "adapter_model.safetensors")
    assert len(shapes) == 28  # 2 layers x 7 linear layers x A and B
    assert cp.stored_bytes(folders.base) == (folders.base / "model.safetensors").stat().st_size
    for content in (b"", b"\xff" * 40):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(FaceLLMError, match="not a safetensors file"):
            cp.tensor_shapes(tmp_path / "x.safetensors")


def test_missing_tokenizer_files(folders, tmp_path):
    shutil.copy(folders.base / "config.json", tmp_path)
    with pytest.raises(FaceLLMError, match="tokenizer or processor files"):
        cp.open_processor(tmp_path)

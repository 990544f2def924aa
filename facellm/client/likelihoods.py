"""The profile from a server that is not ours: likelihoods of the labels by way of vLLM's `prompt_logprobs`.

A label is sent as the assistant's finished answer, and the server says how likely each token of that prompt was. The
tokens are read from the end: an EOS token, and before it the label. That is the likelihood that
facellm.engine.likelihood.scoring computes here, in as many requests as there are labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facellm.errors import FaceLLMError

EOS = "<|im_end|>"  # of InternVL3's and Qwen's chat template


def scoring_body(body: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Returns the request that scores `label` as the answer to the last message of `body`."""
    return {
        **body,
        "messages": [*body["messages"], {"role": "assistant", "content": label}],
        "add_generation_prompt": False,
        "max_tokens": 1,  # none would do, but servers want one
        "temperature": 0,
        "prompt_logprobs": 0,  # of the prompt's own tokens, no alternatives
    }


def label_score(reply: Mapping[str, Any], label: str, place: str) -> float:
    """Returns the log-likelihood (nats) of a label and the EOS token.

    Args:
        reply: What the server answered to `scoring_body`.
        label: The label that was sent.
        place: The server, for sentences.

    Raises:
        FaceLLMError: For a server that does not tell, or that reads the label as other tokens.
    """
    tokens = [next(iter(t.values())) for t in reply.get("prompt_logprobs") or () if isinstance(t, Mapping) and t]
    texts = [str(t.get("decoded_token")) for t in tokens]
    if EOS not in texts:
        raise FaceLLMError(
            f"The server {place} does not tell how likely an answer is (prompt_logprobs), so it gives no "
            "probabilities; `python -m facellm serve` does."
        )
    end = len(texts) - 1 - texts[::-1].index(EOS)
    start = end
    while start > 0 and len("".join(texts[start:end])) < len(label):
        start -= 1
    if "".join(texts[start:end]) != label:
        raise FaceLLMError(
            f"The server {place} reads the label {label!r} as other tokens, so it cannot be scored there."
        )
    return sum(float(t["logprob"]) for t in tokens[start : end + 1])

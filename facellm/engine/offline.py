"""Questions about MANY images in one forward pass: what measuring needs, where the engine serves one image at a time.

Input: an opened model (`facellm.weights.load.LoadedModel`) and asks: images, a prompt, and either labels to score or a
length to generate. Output: log-likelihoods or texts. What this file does not know: which answer is right, files.

Scores are the engine's: the sum of the log-probabilities (nats) of a label's tokens and of the end mark, each label
seen alone after its prompt. All questions about the same images stand in one row behind one prefix. Image features are
computed once per image and kept within `FEATURE_BYTES`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch

from facellm.engine.decode import Network
from facellm.engine.engine import networks_of, stop_tokens
from facellm.engine.kv_cache import RowsCache, common_prefix
from facellm.engine.scoring import Layout
from facellm.errors import FaceLLMError
from facellm.messages import build_messages, render
from facellm.weights.load import LoadedModel

ROWS = 48  # questions in a pass
TOKENS = 12_288  # and at most so many tokens with padding, so that long prompts do not exhaust memory
PACKED = 1_024  # tokens of a row of several questions; a longer row gains little and pads the others
IMAGES = 32  # images encoded at once
FEATURE_BYTES = 2**30  # of image features kept: 45,000 images of nano, 290 of the 8B


@dataclass(frozen=True)
class Ask:
    """prompt: the user's text.  images: keys for the loader, in order, may be empty.  labels: texts to score.
    marks: put "Image 1:", "Image 2:" before the images (only where there are several)."""

    prompt: str
    images: tuple[Hashable, ...] = ()
    labels: tuple[str, ...] = ()
    marks: bool = True


@dataclass(frozen=True)
class Generated:
    """text without special tokens; tokens generated, end mark included; seconds: the batch's divided by its rows."""

    text: str
    tokens: int
    seconds: float


class Row:
    """Questions about the same images in one row: [prefix | question, its labels | question, its labels | ...].

    Every question sees the prefix and itself, and its positions go on from the prefix's end, so it gets the
    likelihoods that it would get alone.  members: indices of the asks.  targets: (place in the row, token to predict
    there, ask, label's number).
    """

    def __init__(
        self, members: Sequence[int], prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[Sequence[int]]]
    ) -> None:
        self.members = list(members)
        # A question alone shares nothing; of several, each keeps a last token of its own to predict from.
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1) if len(prompts) > 1 else 0
        self.shared, self.ids, self.positions = shared, list(prompts[0][:shared]), list(range(shared))
        self.targets: list[tuple[int, int, int, int]] = []
        self._parts: list[tuple[int, Layout]] = []
        for ask, prompt, own in zip(self.members, prompts, labels, strict=True):
            part, start = Layout(prompt[shared:], own, shared), len(self.ids)
            self._parts.append((start, part))
            self.targets += [(start + place, token, ask, j) for place, token, j in part.targets]
            self.ids += part.ids
            self.positions += part.positions

    def visible(self) -> torch.Tensor:
        """(t, t) bool: the prefix before a token, and what its own question lets it see."""
        seen = torch.zeros(len(self.ids), len(self.ids), dtype=torch.bool)
        seen[:, : self.shared] = True
        seen[: self.shared, : self.shared] = torch.ones(self.shared, self.shared, dtype=torch.bool).tril()
        for start, part in self._parts:
            end = start + len(part.ids)
            seen[start:end, start:end] = part.visible()
        return seen


class Batched:
    """Scores and generates for the models that `loaded` holds. Not thread-safe."""

    def __init__(self, loaded: LoadedModel, load: Callable[[Hashable], object], rows: int = ROWS) -> None:
        """load: image key -> RGB PIL image."""
        self.loaded, self.load, self.rows = loaded, load, rows
        self.processor, self.tokenizer = loaded.processor, loaded.processor.tokenizer
        self.networks = networks_of(loaded)
        self._stops = sorted(stop_tokens(loaded))
        self._features: dict[tuple[str, Hashable], torch.Tensor] = {}

    def ids(self, ask: Ask) -> list[int]:
        """Token ids of the templated prompt, image placeholders expanded.  Raises FaceLLMError for an empty prompt."""
        token = self.processor.image_token
        if token in ask.prompt:
            raise FaceLLMError(f"A question must not contain {token}.")
        messages = build_messages(ask.prompt, image=False)
        shown = []
        for number in range(1, len(ask.images) + 1):
            if ask.marks and len(ask.images) > 1:
                shown.append({"type": "text", "text": f"Image {number}: "})
            shown.append({"type": "image"})
        messages[0]["content"][:0] = shown
        run = f"{self.processor.start_image_token}{token * self.processor.image_seq_length}"
        text = render(self.processor, messages).replace(token, run + self.processor.end_image_token)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def fault(self, ask: Ask, variant: str, new_tokens: int = 8) -> str | None:
        """Why this cannot be asked, as a clause; None where it can."""
        length, limit = len(self.ids(ask)) + new_tokens, self.networks[variant].max_positions
        return f"it needs {length} tokens, and the model has {limit}" if length > limit else None

    def score(self, asks: Sequence[Ask], variant: str) -> Iterator[tuple[int, list[float], float]]:
        """(index of the ask, nats per label, seconds) in the order of the passes, long prompts last."""
        network, end = self.networks[variant], [self.tokenizer.eos_token_id]
        cut = {label: self._label(label) + end for ask in asks for label in ask.labels}
        prompts = [self.ids(ask) for ask in asks]
        rows = [
            Row(group, [prompts[i] for i in group], [[cut[x] for x in asks[i].labels] for i in group])
            for group in self._groups(asks, prompts)
        ]
        for part in self._parts([len(row.ids) for row in rows]):
            started = time.perf_counter()
            here = [rows[i] for i in part]
            values = self._score(asks, here, network, variant)
            members = [index for row in here for index in row.members]
            seconds = (time.perf_counter() - started) / len(members)
            for index in members:
                yield index, values[index], seconds

    def generate(self, asks: Sequence[Ask], variant: str, max_new_tokens: int) -> Iterator[tuple[int, Generated]]:
        """(index of the ask, its greedy answer), in the order of the passes."""
        prompts = [self.ids(ask) for ask in asks]
        for part in self._parts([len(prompt) + max_new_tokens for prompt in prompts]):
            started = time.perf_counter()
            found = self._generate([asks[i] for i in part], [prompts[i] for i in part], variant, max_new_tokens)
            seconds = (time.perf_counter() - started) / len(part)
            for index, (text, tokens) in zip(part, found, strict=True):
                yield index, Generated(text, tokens, seconds)

    def _label(self, label: str) -> list[int]:
        return self.tokenizer(label.strip(), add_special_tokens=False)["input_ids"]

    @staticmethod
    def _groups(asks: Sequence[Ask], prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of asks that stand in one row: the same images, at most `PACKED` tokens; text alone stays alone."""
        open_rows: dict[tuple[tuple[Hashable, ...], bool], tuple[list[int], int]] = {}
        for index, (ask, prompt) in enumerate(zip(asks, prompts, strict=True)):
            key = (ask.images, ask.marks) if ask.images else ((index,), True)
            members, tokens = open_rows.get(key, ([], 0))
            if members and tokens + len(prompt) > PACKED:
                yield members
                members, tokens = [], 0
            open_rows[key] = ([*members, index], tokens + len(prompt))
        for members, _ in open_rows.values():
            yield members

    def _parts(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        part: list[int] = []
        for index in sorted(range(len(lengths)), key=lengths.__getitem__):
            if part and (len(part) >= self.rows or (len(part) + 1) * lengths[index] > TOKENS):
                yield part
                part = []
            part.append(index)
        if part:
            yield part

    def features(self, keys: Sequence[Hashable], network: Network) -> list[torch.Tensor]:
        """(image tokens, hidden) for every key; each image is encoded once for each network."""
        missing = [key for key in dict.fromkeys(keys) if (network.name, key) not in self._features]
        for start in range(0, len(missing), IMAGES):
            part = missing[start : start + IMAGES]
            pixels = torch.cat([self.processor.pixels(self.load(key)) for key in part]).to(network.device)
            with torch.inference_mode():
                found = network.model.get_image_features(pixels, return_dict=True).pooler_output
            for key, feature in zip(part, found, strict=True):
                self._features[network.name, key] = feature.flatten(0, -2).clone()
        wanted = [self._features[network.name, key] for key in keys]
        if self._features:
            one = next(iter(self._features.values()))
            for old in list(self._features)[: max(0, len(self._features) - FEATURE_BYTES // max(1, one.nbytes))]:
                del self._features[old]
        return wanted

    def forget(self) -> None:
        """Drop the image features, so that what is timed next pays for its own."""
        self._features.clear()

    def _pictures(self, asks: Sequence[Ask], network: Network) -> torch.Tensor | None:
        keys = [key for ask in asks for key in ask.images]
        return torch.cat(self.features(keys, network)) if keys else None

    def _adapter(self, variant: str, rows: int) -> list[bool]:
        return [variant == "facellm" and self.networks[variant].switch is not None] * rows

    @torch.inference_mode()
    def _score(self, asks: Sequence[Ask], rows: list[Row], network: Network, variant: str) -> dict[int, list[float]]:
        """{index of an ask: nats per label} of all rows' asks, in one pass."""
        n, width, device = len(rows), max(len(row.ids) for row in rows), network.device
        ids = torch.full((n, width), self.tokenizer.pad_token_id)
        positions = torch.zeros(n, width, dtype=torch.long)
        mask = torch.zeros(n, 1, width, width, dtype=torch.bool)
        mask[..., 0] = True  # padding sees the first token, so that no softmax is over nothing
        for i, row in enumerate(rows):
            t = len(row.ids)
            ids[i, :t], positions[i, :t] = torch.tensor(row.ids), torch.tensor(row.positions)
            mask[i, 0, :t, :t] = row.visible()
        shown = [asks[row.members[0]] for row in rows]
        embeddings = network.embed(ids.to(device), self._pictures(shown, network))
        cache = RowsCache(network.layers)
        hidden = network.forward(embeddings, mask.to(device), positions.to(device), cache, self._adapter(variant, n))
        where = [(i, place, token, ask, j) for i, row in enumerate(rows) for place, token, ask, j in row.targets]
        picked = hidden[[w[0] for w in where], [w[1] for w in where]]
        tokens = torch.tensor([w[2] for w in where], device=device)
        scores = {index: [0.0] * len(asks[index].labels) for row in rows for index in row.members}
        gained: list[float] = []
        for part, token in zip(picked.split(256), tokens.split(256), strict=True):
            logits = network.model.lm_head(part).float()
            gained += (logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1)).tolist()
        for (_, _, _, ask, j), value in zip(where, gained, strict=True):
            scores[ask][j] += value
        return scores

    @torch.inference_mode()
    def _generate(self, asks, prompts: list[list[int]], variant: str, max_new_tokens: int) -> list[tuple[str, int]]:
        network = self.networks[variant]
        n, width, pad = len(prompts), max(map(len, prompts)), self.tokenizer.pad_token_id
        ids = torch.full((n, width), pad)
        mask = torch.zeros(n, width, dtype=torch.long)
        for i, prompt in enumerate(prompts):  # left padding: every row's next token stands in the last column
            ids[i, width - len(prompt) :], mask[i, width - len(prompt) :] = torch.tensor(prompt), 1
        embeddings = network.embed(ids.to(network.device), self._pictures(asks, network))
        adapter = self._adapter(variant, n)
        options = {
            "do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens, "pad_token_id": pad,
            "eos_token_id": self._stops, "repetition_penalty": 1.0, "temperature": None, "top_p": None, "top_k": None,
        }  # fmt: skip
        if network.switch is None:
            out = network.model.generate(inputs_embeds=embeddings, attention_mask=mask.to(network.device), **options)
        else:
            with network.switch.rows(adapter, network.device):
                out = network.model.generate(
                    inputs_embeds=embeddings, attention_mask=mask.to(network.device), **options
                )
        found = []
        for row in out.tolist():
            stop = next((k for k, token in enumerate(row) if token in self._stops), None)
            ids = row if stop is None else row[:stop]
            # Bytes that are no character are left out, as the engine does.
            text = self.tokenizer.decode(ids, skip_special_tokens=True).replace("\ufffd", "").strip()
            found.append((text, len(ids) + (stop is not None)))
        return found

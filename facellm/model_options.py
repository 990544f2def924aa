"""The options that choose a model and open it: one definition for the command line, the demo and the measuring tools.

Nothing heavy is imported before a model is opened.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facellm.attributes import read_switch
from facellm.errors import FaceLLMError
from facellm.weights.registry import DTYPES, MODELS, QUANTIZATIONS, split_revision

if TYPE_CHECKING:
    from facellm.interface import Questions
    from facellm.weights.load import LoadedModel


def add_model_options(
    parser: argparse.ArgumentParser, *, default: str = "auto", backend: bool = True, environment: bool = False
) -> argparse._ArgumentGroup:
    """Adds the group "model" to a command line. Read what was given with `ModelOptions.read`.

    Every option's own default is None (False for switches), so that "not given" can be told from a value.

    Args:
        parser: The command that opens a model.
        default: The model that the command opens where none is named; for the help text only, pass it to
            `ModelOptions.read` as well.
        backend: Whether a server can take the place of a model in this process (`--backend-url`).
        environment: Whether the help names the environment variable that stands for each option.

    Returns:
        The group, to which a command may add options of its own.
    """
    group = parser.add_argument_group("model")

    def add(option: str, text: str, **keywords: Any) -> None:
        name = option.removeprefix("--").replace("-", "_")
        variable = f" [FACELLM_{name.upper()}]" if environment else ""
        group.add_argument(option, help=text + variable, **keywords)

    names = f"{', '.join(MODELS)}, embedded, auto, a folder or owner/name on the hub (default {default})"
    add("--model", names, metavar="M")
    add("--adapter", "LoRA adapter, or merged FaceLLM to stand beside the base", metavar="A")
    add(
        "--quantization",
        f"{', '.join(QUANTIZATIONS)} or auto (default): nf4 for 8b and up on CUDA, else none",
        metavar="Q",
    )
    add("--device", "cuda, mps or cpu; default: the best there is", metavar="D")
    add("--dtype", f"{', '.join(DTYPES)}; default: what suits the device", metavar="T")
    add("--offload-encoder", "keep the image encoder in main memory (a 38b on 24 GB)", action="store_true")
    if backend:
        text = "OpenAI-compatible server to ask in place of a model here; --model then names base,facellm there"
        add("--backend-url", text, metavar="URL")
    return group


@dataclass(frozen=True)
class ModelOptions:
    """Which model is asked, and how it is opened.

    Attributes:
        model: A name of the registry, a folder or a hub id, "embedded" or "auto"; behind `backend_url` the served
            names of base and FaceLLM with a comma between them, or "auto".
        adapter: Folder or hub id of a LoRA adapter, or of a merged FaceLLM.
        quantization: "none", "int8" or "nf4"; None leaves it to the model and the device.
        device: "cuda", "cuda:1", "mps" or "cpu"; None takes the best there is.
        dtype: One of DTYPES; None takes what suits the device.
        offload_encoder: Whether the image encoder stays in main memory.
        backend_url: Address of an OpenAI-compatible server to ask in place of a model in this process.
    """

    model: str = "auto"
    adapter: str | None = None
    quantization: str | None = None
    device: str | None = None
    dtype: str | None = None
    offload_encoder: bool = False
    backend_url: str | None = None

    @classmethod
    def read(
        cls, args: argparse.Namespace, env: Mapping[str, str] | None = None, *, default: str = "auto"
    ) -> ModelOptions:
        """Reads the options from a command line, then from the environment.

        Args:
            args: What a parser with `add_model_options` found.
            env: Environment to read FACELLM_MODEL, FACELLM_ADAPTER and so on from; None reads none.
            default: The model where none is named and no server is asked.

        Returns:
            The options, checked as far as that can be done without opening anything.

        Raises:
            FaceLLMError: For a value that makes no sense, or a local model's option beside `--backend-url`.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            variable = f"FACELLM_{field.name.upper()}"
            value = getattr(args, field.name, None)
            if value in (None, "", False) and env is not None:
                switch = field.name == "offload_encoder"
                value = read_switch(variable, False, env) if switch else env.get(variable, "").strip()
            if value not in (None, "", False):
                values[field.name] = value
        url = values.get("backend_url")
        if url and not url.startswith(("http://", "https://")):
            raise FaceLLMError(f"{url!r} is not a server's address: --backend-url starts with http:// or https://.")
        local = ("adapter", "quantization", "device", "dtype", "offload_encoder")
        if url and (given := [f"--{name.replace('_', '-')}" for name in local if name in values]):
            raise FaceLLMError(f"{' and '.join(given)} cannot be chosen for a server (--backend-url); leave it out.")
        for name, known in (("quantization", ("auto", *QUANTIZATIONS)), ("dtype", DTYPES)):
            if name in values:
                value = values[name].lower()
                if value not in known:
                    raise FaceLLMError(f"There is no {name} {values[name]!r}; choose from {', '.join(known)}.")
                values[name] = None if value == "auto" else value
        return cls(**{"model": "auto" if url else default, **values})

    def open(self, base: bool | None = True) -> Questions:
        """Opens the model, or connects to the server.

        Args:
            base: False opens FaceLLM alone, None the base only where it is no second set of weights. A server has what
                it has.

        Returns:
            A FaceLLM or a RemoteFaceLLM.

        Raises:
            FaceLLMError: Where the model cannot be opened or the server cannot be reached.
        """
        if self.backend_url:
            from facellm.client.connecting import connect

            return connect(self.backend_url, model=self.model)
        from facellm.api import FaceLLM

        return FaceLLM(self.open_weights(base))

    def open_weights(self, base: bool | None = True) -> LoadedModel:
        """Opens the weights alone, for what works on them without the engine. Arguments and errors are as in `open`."""
        name = split_revision(self.model)[0]
        place = MODELS[name.lower()].base if name.lower() in MODELS else name
        if name not in ("auto", "embedded") and not all(
            Path(p).expanduser().is_dir() for p in (place, self.adapter or ".")
        ):
            from facellm.client.proxies import check_proxies

            check_proxies()  # what is no folder comes from the hub
        from facellm.weights.load import open_model

        return open_model(
            self.model,
            adapter=self.adapter,
            quantization=self.quantization,
            device=self.device,
            dtype=self.dtype,
            base=base,
            offload_encoder=self.offload_encoder,
        )

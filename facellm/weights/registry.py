"""Named models, what memory they need, and which one `auto` takes on a given machine; what a model declares of its
training in its config.json. Imports no torch.

    {"facellm": {"label_set": "utkface", "fields": ["age_group", "gender", "pose"]}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facellm.errors import FaceLLMError
from facellm.labels import LABEL_SETS

NANO = Path(__file__).resolve().parents[1] / "nano"
MINI = Path(__file__).resolve().parents[1] / "mini"  # without its decoder, which is fetched once
GIB = 2**30
QUANTIZATIONS = ("none", "int8", "nf4")
DTYPES = ("float32", "bfloat16", "float16")
# Bits a decoder weight: NF4 with double quantisation has 4 + 8/64 + 32/(64 * 256) = 4.127; int8 one scale a row.
BITS = {"none": 16.0, "int8": 8.05, "nf4": 4.127}
# Compare decodes 16 rows; 1,024 tokens each is image, question and a long answer. CUDA itself takes about half a GiB.
ANSWER_TOKENS = 16 * 1024
WORKING_BYTES = GIB
METADATA = "facellm"  # the entry in which a model declares what this project has to know of it


@dataclass(frozen=True)
class ModelSpec:
    """A model that this project knows by name.

    Attributes:
        name: Its name here.
        base: Hub id or folder of the InternVL3.
        facellm: Hub id of the merged FaceLLM; None where none of this size is known.
        subfolder: Where its files lie in the repository.
        adapter: Folder of a LoRA for the base.
        decoder: Weights in the decoder's linear layers, which are quantised.
        other: Weights elsewhere.
        cache_bytes: Keys and values of one token in bfloat16: 2 x layers x kv heads x head size x 2 bytes.
        cuda_quantization: The default on CUDA.
        cpu_dtype: The default on a CPU; None leaves it to the machine.
        presumed: Whether `facellm` is guessed from its siblings' names; the base is opened alone where it is not found.
    """

    name: str
    base: str
    facellm: str | None = None
    subfolder: str = ""
    adapter: str | None = None
    decoder: int = 0
    other: int = 0
    cache_bytes: int = 0
    cuda_quantization: str = "none"
    cpu_dtype: str | None = None
    presumed: bool = False

    @property
    def parameters(self) -> int:
        return self.decoder + self.other

    def weight_bytes(self, quantization: str = "none") -> int:
        """Returns the bytes of one copy of the weights: the decoder's linear layers quantised, the rest in 16 bits."""
        return int(self.decoder * BITS[quantization] / 8 + self.other * 2)

    def needed_bytes(self, quantization: str = "none", copies: int | None = None) -> int:
        """Returns the bytes that opening and answering take.

        Args:
            quantization: One of QUANTIZATIONS.
            copies: 2 where a merged FaceLLM stands beside its base; None takes what this model has.
        """
        copies = copies or (2 if self.facellm else 1)
        return copies * self.weight_bytes(quantization) + ANSWER_TOKENS * self.cache_bytes + WORKING_BYTES


def _internvl3(
    name: str, size: str, layers: int, hidden: int, wide: int, kv: int, vision: int, *, tuned: bool = True, **options
) -> ModelSpec:
    """Counts from the Qwen2.5 shapes. wide: the MLP's width.  kv: the keys' width.  vision: the encoder's size.

    tuned: whether there is a FaceLLM of this size on the hub, or presumed to be.
    """
    decoder = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * wide)
    other = vision + 2 * 151_674 * hidden  # embedding and head
    return ModelSpec(
        name,
        f"OpenGVLab/InternVL3-{size}-hf",
        f"Idiap/FaceLLM-{size}" if tuned else None,
        decoder=decoder,
        other=other,
        cache_bytes=2 * layers * kv * 2,
        **options,
    )


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "nano",
            str(NANO),
            adapter=str(NANO / "adapter"),
            decoder=7_618_560,
            other=22_715_584,
            cache_bytes=7_680,
            cpu_dtype="float32",
        ),
        ModelSpec(
            "mini",
            str(MINI),
            adapter=str(MINI / "adapter"),
            decoder=106_168_320,
            other=51_500_000,
            cache_bytes=23_040,
            cpu_dtype="float32",
        ),
        _internvl3("1b", "1B", 24, 896, 4864, 128, 310_000_000, subfolder="model"),
        _internvl3("2b", "2B", 28, 1536, 8960, 256, 312_000_000, tuned=False),
        _internvl3("8b", "8B", 28, 3584, 18944, 512, 337_000_000, cuda_quantization="nf4"),
        _internvl3("14b", "14B", 48, 5120, 13824, 1024, 352_000_000, cuda_quantization="nf4", tuned=False),
        _internvl3("38b", "38B", 64, 5120, 27648, 1024, 5_600_000_000, cuda_quantization="nf4", presumed=True),
    )
    if spec.name != "mini" or (MINI / "config.json").is_file()
}
# `auto` only proposes sizes whose FaceLLM is known to exist.
AUTO_SIZES = ("8b", "1b")
# What works without the hub, best first; the last needs nothing but this package.
EMBEDDED = tuple(name for name in ("mini", "nano") if name in MODELS)


@dataclass(frozen=True)
class Device:
    """What `auto` needs to know: kind "cuda", "mps" or "cpu", free memory in bytes (0 if unknown), and a name."""

    kind: str
    free_bytes: int = 0
    name: str = ""


@dataclass(frozen=True)
class Source:
    """Where a model comes from: hub ids or folders of base, adapter and merged FaceLLM.

    A revision pins a commit, tag or branch on the hub, and a subfolder is one inside the repository.
    """

    name: str
    base: str | None
    base_revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    merged: str | None = None
    merged_revision: str | None = None
    merged_subfolder: str = ""
    spec: ModelSpec | None = None


def split_revision(name: str) -> tuple[str, str | None]:
    """Splits "name@revision"; a folder of that very name wins, for paths that contain an @."""
    name = str(name).strip()
    if "@" not in name or Path(name).exists():
        return name, None
    base, _, revision = name.rpartition("@")
    if not base or not revision:
        raise FaceLLMError(f"{name!r} is not a model name; write name or name@revision.")
    return base, revision


def resolve(name: str, adapter: str | None = None) -> Source:
    """Says where a model comes from.

    Args:
        name: A name of the registry, a folder or a hub id, each with an optional @revision. That of a registry's name
            pins what the name stands for: its merged FaceLLM, or the base where the size has none or `adapter`
            replaces it.
        adapter: A PEFT folder or hub id, or a merged FaceLLM checkpoint; it replaces the registry's FaceLLM.

    Returns:
        The places. Whether a hub has them is not asked.

    Raises:
        FaceLLMError: For a name that is none of these.
    """
    plain, revision = split_revision(name)
    spec = MODELS.get(EMBEDDED[0] if plain == "embedded" else plain.lower())
    if spec is not None:
        hub = not Path(spec.base).is_absolute()
        if revision and not hub:
            raise FaceLLMError(f"{plain} is embedded in this package and has no revisions; leave out @{revision}.")
        source = Source(spec.name, spec.base, adapter=spec.adapter, spec=spec)
        if spec.facellm and adapter is None:
            source = replace(source, merged=spec.facellm, merged_revision=revision, merged_subfolder=spec.subfolder)
        else:
            source = replace(source, base_revision=revision)
    else:
        path = Path(plain).expanduser()
        if plain and path.is_dir():
            plain = str(path)
        elif plain.count("/") != 1 or plain.startswith((".", "/", "~")) or plain.endswith("/"):
            raise FaceLLMError(
                f"There is no model {plain!r}: it is neither a folder nor one of {', '.join(MODELS)}; a hub model is "
                f"written owner/name."
            )
        source = Source(plain, plain, revision)
    if adapter is None:
        return source
    place, adapter_revision = split_revision(adapter)
    folder = Path(place).expanduser()
    if folder.is_dir():
        place = str(folder)
    elif place.count("/") != 1 or place.startswith((".", "/", "~")):
        raise FaceLLMError(f"There is no adapter {place!r}: it is neither a folder nor a hub name (owner/name).")
    return replace(source, adapter=place, adapter_revision=adapter_revision)


def choose(device: Device, quantization: str | None = None, copies: int = 2) -> tuple[str, str]:
    """Chooses what `auto` takes: on CUDA the largest of AUTO_SIZES that fits, on MPS 1b, else the first of EMBEDDED.

    Args:
        device: What is known of it.
        quantization: As asked for; None takes each size's own default.
        copies: How many sets of weights will be opened: 2 where a merged FaceLLM stands beside its base, 1 for one of
            them or a base with a LoRA.

    Returns:
        The model's name, and the reason as a clause.
    """
    if device.kind == "cuda":
        free = device.free_bytes / GIB
        for name in AUTO_SIZES:
            spec = MODELS[name]
            need = spec.needed_bytes(quantization or spec.cuda_quantization, copies) / GIB
            if need <= free:
                return name, f"{device.name or 'the GPU'} has {free:.1f} GiB free and {name} needs {need:.1f} GiB"
        return EMBEDDED[0], f"{device.name or 'the GPU'} has only {free:.1f} GiB free"
    if device.kind == "mps":
        return "1b", "Apple GPU found"
    return EMBEDDED[0], "no GPU found"


@dataclass(frozen=True)
class Declared:
    """What a model was trained to tell.

    Attributes:
        label_set: One of `labels.LABEL_SETS`; what declares nothing has the first.
        fields: Keys of the profile's fields that it was trained on; it is asked for no other. None: for
            `facellm.profile.FIELDS`.
        answers: Intents of `python -m train chat` that it was measured to answer well.
    """

    label_set: str = LABEL_SETS[0]
    fields: tuple[str, ...] | None = None
    answers: tuple[str, ...] = ()


def read_declared(config: Any, place: Any) -> Declared:
    """Reads what a model declares.

    Args:
        config: The content of its config.json, or another mapping with the same entry.
        place: The file, for sentences.

    Raises:
        FaceLLMError: For a label set that this version does not know, or fields or answers that are no list of names.
    """
    told = config.get(METADATA) if isinstance(config, Mapping) else None
    if not isinstance(told, Mapping):
        return Declared()
    found = told.get("label_set", LABEL_SETS[0])
    if found not in LABEL_SETS:
        raise FaceLLMError(f"{place} declares the label set {found!r}; this version knows {', '.join(LABEL_SETS)}.")
    fields = _names(told, "fields", "the profile's keys", place)
    if fields == ():
        raise FaceLLMError(f'{place} declares no "fields" at all; name the profile\'s keys, or remove the entry.')
    return Declared(found, fields, _names(told, "answers", "intents", place) or ())


def _names(told: Mapping[str, Any], key: str, what: str, place: Any) -> tuple[str, ...] | None:
    names = told.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FaceLLMError(f'{place} declares "{key}" that are no list of {what}; correct or remove it.')
    return tuple(names)

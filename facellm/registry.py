"""Named models, what memory they need, and which one `auto` takes on a given machine.

Input: a name, facts about the device. What this file does not know: how weights are read (loading), torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import FaceLLMError

NANO = Path(__file__).resolve().parent / "nano"
GIB = 2**30
QUANTIZATIONS = ("none", "int8", "nf4")
# Bits a decoder weight: NF4 with double quantisation has 4 + 8/64 + 32/(64 * 256) = 4.127; int8 one scale a row.
BITS = {"none": 16.0, "int8": 8.05, "nf4": 4.127}
# Compare decodes 16 rows; 1,024 tokens each is image, question and a long answer. CUDA itself takes about half a GiB.
ROOM_TOKENS = 16 * 1024
ROOM_BYTES = GIB


@dataclass(frozen=True)
class ModelSpec:
    """A model this project knows by name.

    base: hub id or folder of the InternVL3.  facellm, subfolder: merged FaceLLM checkpoint on the hub.  adapter: LoRA
    folder beside the base.  decoder, other: weights in the decoder's linear layers (quantised) and elsewhere.
    cache_bytes: keys and values of one token in bf16 = 2 x layers x kv heads x head size x 2 bytes.
    cuda_quantization, cpu_dtype: defaults on those devices (None: decided by the machine).
    presumed: the FaceLLM id is guessed from its siblings' names.
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
        """Bytes of one copy of the weights: the decoder's linear layers quantised, the rest in 16 bits."""
        return int(self.decoder * BITS[quantization] / 8 + self.other * 2)

    def needed_bytes(self, quantization: str = "none", copies: int | None = None) -> int:
        """Bytes with room to answer. copies: 2 where a merged FaceLLM stands beside its base (default: as opened)."""
        copies = copies or (2 if self.facellm else 1)
        return copies * self.weight_bytes(quantization) + ROOM_TOKENS * self.cache_bytes + ROOM_BYTES


def _internvl3(name: str, size: str, layers: int, hidden: int, wide: int, kv: int, vision: int, **options) -> ModelSpec:
    """Counts from the Qwen2.5 shapes. wide: the MLP's width.  kv: the keys' width.  vision: the encoder's size."""
    decoder = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * wide)
    other = vision + 2 * 151_674 * hidden  # embedding and head
    return ModelSpec(
        name,
        f"OpenGVLab/InternVL3-{size}-hf",
        f"Idiap/FaceLLM-{size}",
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
        _internvl3("1b", "1B", 24, 896, 4864, 128, 310_000_000, subfolder="model"),
        _internvl3("2b", "2B", 28, 1536, 8960, 256, 312_000_000, presumed=True),
        _internvl3("8b", "8B", 28, 3584, 18944, 512, 337_000_000, cuda_quantization="nf4"),
        _internvl3("14b", "14B", 48, 5120, 13824, 1024, 352_000_000, cuda_quantization="nf4", presumed=True),
        _internvl3("38b", "38B", 64, 5120, 27648, 1024, 5_600_000_000, cuda_quantization="nf4", presumed=True),
    )
}
# `auto` only proposes sizes whose FaceLLM is known to exist.
AUTO_SIZES = ("8b", "1b")


@dataclass(frozen=True)
class Device:
    """What `auto` needs to know: kind "cuda", "mps" or "cpu", free memory in bytes (0: unknown), and a name."""

    kind: str
    free_bytes: int = 0
    name: str = ""


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    base, adapter, merged: hub id or folder; *_revision pins a hub commit, tag or branch; *_subfolder: inside it.
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
    """ "name@revision" -> (name, revision). A folder of that very name wins, for paths that contain an @."""
    name = str(name).strip()
    if "@" not in name or Path(name).exists():
        return name, None
    base, _, revision = name.rpartition("@")
    if not base or not revision:
        raise FaceLLMError(f"{name!r} is not a model name; write name or name@revision.")
    return base, revision


def resolve(name: str, adapter: str | None = None) -> Source:
    """Where `name` (of the registry, a folder, a hub id, each with an optional @revision) and `adapter` are.

    adapter: a PEFT folder or hub id, or a merged FaceLLM checkpoint; it replaces the registry's FaceLLM.
    Raises FaceLLMError for a name that is none of these.
    """
    plain, revision = split_revision(name)
    spec = MODELS.get(plain.lower())
    if spec is not None:
        hub = not Path(spec.base).is_absolute()
        if revision and not hub:
            raise FaceLLMError(f"{plain} is embedded in this package and has no revisions; leave out @{revision}.")
        # The revision pins what the name stands for: FaceLLM where there is one, else the base.
        source = Source(
            plain.lower(),
            spec.base,
            adapter=spec.adapter,
            merged=spec.facellm,
            merged_revision=revision,
            merged_subfolder=spec.subfolder,
            spec=spec,
        )
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
    return Source(source.name, source.base, source.base_revision, place, adapter_revision, spec=source.spec)


def choose(device: Device) -> tuple[str, str]:
    """(name, reason) that `auto` takes on this device.

    CUDA: the largest size whose base and FaceLLM together fit the free memory in the size's own default quantisation,
    with room to answer. MPS: 1b. Otherwise nano.
    """
    if device.kind == "cuda":
        free = device.free_bytes / GIB
        for name in AUTO_SIZES:
            spec = MODELS[name]
            need = spec.needed_bytes(spec.cuda_quantization) / GIB
            if need <= free:
                return name, f"{device.name or 'the GPU'} has {free:.1f} GiB free and {name} needs {need:.1f} GiB"
        return "nano", f"{device.name or 'the GPU'} has only {free:.1f} GiB free"
    if device.kind == "mps":
        return "1b", "Apple GPU found"
    return "nano", "no GPU found"

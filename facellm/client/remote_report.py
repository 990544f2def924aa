"""What is told about models behind a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RemoteReport:
    """What is served where, in the form of `facellm.weights.load.LoadReport`; what no server tells is "not told"."""

    name: str
    base: str | None
    facellm: str | None
    reason: str
    seconds: float
    notes: tuple[str, ...] = ()
    device: str = "remote"
    dtype: str = "not told"
    quantization: str = "not told"
    memory_bytes: int | None = None
    revision: str | None = None
    sharing: str = "not told"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 3), "notes": list(self.notes)}

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype}, quantization {self.quantization}; {self.reason}"

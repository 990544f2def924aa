"""What every tab works with: the options, the model's host, the votes, the visitors' photos and running work."""

from __future__ import annotations

from dataclasses import dataclass, field

from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.photos import Photos
from demo.runtime.tickets import Runs
from demo.votes import Votes


@dataclass(frozen=True)
class Context:
    """Shared by all tabs of one page."""

    options: Options
    host: Host
    votes: Votes
    photos: Photos = field(default_factory=Photos)
    runs: Runs = field(default_factory=Runs)

    @property
    def sensitive(self) -> bool:
        """Whether sensitive attributes may be asked about."""
        return self.options.sensitive

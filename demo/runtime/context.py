"""What every tab works with: the options, the model's host, the votes, the visitors' photos and running work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from demo.runtime.host import Host
from demo.runtime.options import Options
from demo.runtime.photos import Photos
from demo.runtime.tickets import Runs
from demo.votes import Votes


@dataclass(frozen=True)
class Context:
    """Shared by all tabs of one page.

    Attributes:
        host: The model that the page opens with; in a visitor's own context (`at`) the one that the visitor chose.
        others: Further models that a visitor may choose, by name; each is loaded when somebody first does.
        chosen: Session -> the name of the model that its visitor chose.
    """

    options: Options
    host: Host
    votes: Votes
    photos: Photos = field(default_factory=Photos)
    runs: Runs = field(default_factory=Runs)
    others: Mapping[str, Host] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)

    @property
    def sensitive(self) -> bool:
        """Whether sensitive attributes may be asked about."""
        return self.options.sensitive

    def at(self, session: str | None) -> Context:
        """This context with the model that the visitor of a session chose."""
        host = self.others.get(self.chosen.get(session or "", ""))
        return self if host is None else replace(self, host=host)

    def choose(self, session: str, name: str) -> None:
        """Has a visitor's questions go to another model, which is loaded unless it is there."""
        self.chosen.pop(session, None)
        if name in self.others:
            self.chosen[session] = name
        self.at(session).host.start()


def others(options: Options) -> dict[str, Host]:
    """Hosts of the models beside the first one, none of them loaded."""
    return {name: Host(replace(options, model=name)) for name in options.models if name != options.model}

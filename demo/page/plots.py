"""What a plot shows, computed; templates/plots.html draws it in the page's colours, with text for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from demo.page.render import percent, render
from demo.page.texts import VARIANTS

TYPED = "typed"


@dataclass(frozen=True)
class Plot:
    """Probabilities of one field's labels, by one or more models.

    Attributes:
        series: variant -> {label: probability in 0..1}, in the order of drawing.
        key: The profile field's, or TYPED for a question of the visitor's own: what a button "Why?" asks about.
    """

    title: str
    labels: Sequence[str]
    series: Mapping[str, Mapping[str, float]]
    key: str = TYPED

    def top(self, variant: str) -> str:
        """The likeliest label by that model."""
        return max(self.labels, key=lambda label: self.series[variant].get(label, 0.0))

    @property
    def typed(self) -> bool:
        """Whether the visitor wrote the question."""
        return self.key == TYPED

    @property
    def highest(self) -> float:
        """The largest probability, for a column of full height; 1 where all are 0."""
        return max((p for values in self.series.values() for p in values.values()), default=0.0) or 1.0

    @property
    def summary(self) -> str:
        """The plot in a sentence, for screen readers."""
        tops = {variant: self.top(variant) for variant in self.series}
        told = [f"{VARIANTS[v]}: {top}, {percent(self.series[v].get(top, 0.0))}" for v, top in tops.items()]
        return f"{self.title}. Most likely by {'; '.join(told)}."


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A plain table with scoped headers; the first column is the row's header."""
    return render("table", caption=caption, head=head, rows=rows)

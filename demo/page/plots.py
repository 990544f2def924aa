"""Plots as HTML that follow the page's colours in light and dark, with text for screen readers.

Input: numbers in 0..1 and labels. What this file does not know: Gradio, models, where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from demo.page.texts import VARIANTS
from demo.votes import Rate


def percent(p: float) -> str:
    """ "42 %"; small probabilities that are not zero as "<1 %"."""
    if 0 < p < 0.005:
        return "<1 %"
    return f"{100 * p:.0f} %"


def legend(series: Sequence[str]) -> str:
    """The key to the colours of the series, in order."""
    marks = "".join(f'<li><i class="swatch {escape(s)}"></i>{escape(VARIANTS.get(s, s))}</li>' for s in series)
    return f'<ul class="legend" aria-label="Colours">{marks}</ul>'


def _summary(title: str, labels: Sequence[str], series: Mapping[str, Mapping[str, float]]) -> str:
    tops = []
    for name, values in series.items():
        best = max(labels, key=lambda label: values.get(label, 0.0))
        tops.append(f"{VARIANTS.get(name, name)}: {best}, {percent(values.get(best, 0.0))}")
    return f"{title}. Most likely by {'; '.join(tops)}."


def bars(title: str, labels: Sequence[str], series: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars, one row a label, one bar a series.  series: name -> {label: probability in 0..1}.

    The first series' likeliest label is emphasised; so is each series' number for its own.
    """
    tops = {name: max(labels, key=lambda label: values.get(label, 0.0)) for name, values in series.items()}
    rows = []
    for label in labels:
        tracks = "".join(
            f'<span class="track{" top" if tops[name] == label else ""}"><span class="bar {escape(name)}" '
            f'style="width:{100 * values.get(label, 0.0):.1f}%"></span>'
            f"<b>{percent(values.get(label, 0.0))}</b></span>"
            for name, values in series.items()
        )
        top = label == next(iter(tops.values()), None)
        rows.append(f'<div class="row{" top" if top else ""}"><span class="label">{escape(label)}</span>{tracks}</div>')
    text = escape(_summary(title, labels, series))
    return (
        f'<section class="plot"><h3>{escape(title)}</h3>'
        f'<div class="bars" role="img" aria-label="{text}">{"".join(rows)}</div></section>'
    )


def columns(title: str, labels: Sequence[str], series: Mapping[str, Mapping[str, float]]) -> str:
    """Vertical columns for an ordered field (age groups): a distribution, the series side by side over each label.

    The tallest column has the full height; each series' likeliest label carries its number.
    """
    highest = max((p for values in series.values() for p in values.values()), default=0.0) or 1.0
    parts = []
    for label in labels:
        stems = []
        for name, values in series.items():
            p = values.get(label, 0.0)
            top = f"<b>{percent(p)}</b>" if p > 0 and p == max(values.values()) else ""
            told = escape(f"{VARIANTS.get(name, name)}, {label}: {percent(p)}")
            style = f"height:{100 * p / highest:.1f}%"
            stems.append(f'<span class="stem {escape(name)}" style="{style}" title="{told}">{top}</span>')
        short = "70+" if label.startswith("more") else label.replace("-", "–")
        tick = f'<span class="tick">{escape(short)}</span>'
        parts.append(f'<div><div class="stems">{"".join(stems)}</div>{tick}</div>')
    text = escape(_summary(title, labels, series))
    return (
        f'<section class="plot wide"><h3>{escape(title)}</h3>'
        f'<div class="histogram" role="img" aria-label="{text}">{"".join(parts)}</div></section>'
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain table with scoped headers; first column is the row's header."""
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(c)}</td>" for c in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="table" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def win_rates(rates: Sequence[Rate], titles: Mapping[str, str]) -> str:
    """One line a question: FaceLLM's share of the votes as a point with its 95 % interval, half marked."""
    if not rates:
        return (
            '<p class="empty small">No blind vote yet. Tick “Blind test”, compare, and say which answer is better: '
            "the count appears here.</p>"
        )
    lines = []
    for r in rates:
        title = titles.get(r.key, r.key)
        text = (
            f"{title}: FaceLLM preferred in {percent(r.rate)} of {r.votes} vote{'s' if r.votes != 1 else ''}, "
            f"95 % interval {percent(r.low)} to {percent(r.high)}"
        )
        lines.append(
            f'<div class="rate" role="img" aria-label="{escape(text)}"><span class="label">{escape(title)}</span>'
            f'<span class="scale"><i class="half"></i><i class="interval" style="left:{100 * r.low:.1f}%;'
            f'width:{100 * (r.high - r.low):.1f}%"></i><i class="point" style="left:{100 * r.rate:.1f}%"></i></span>'
            f'<span class="count"><b>{percent(r.rate)}</b> of {r.votes}</span></div>'
        )
    return (
        '<div class="rates"><div class="ends" aria-hidden="true"><span>base preferred</span>'
        f"<span>FaceLLM preferred</span></div>{''.join(lines)}"
        '<p class="small">A tie or “both bad” counts half. The bar is the 95 % Wilson interval.</p></div>'
    )

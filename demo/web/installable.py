"""What a browser asks for to install the page as an app: a manifest, icons, and a worker that keeps nothing."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterator

from PIL import Image, ImageDraw
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from demo.page import texts
from demo.page.render import render

MANIFEST, WORKER = "/manifest.json", "/facellm-worker.js"
# An icon's file -> its side in px, and whether it fills its square, for systems that cut icons to their own shape.
ICONS = {"icon-192.png": (192, False), "icon-512.png": (512, False), "icon-maskable.png": (512, True)}
TEAL, PAGE = "#0f766e", "#f6f8f9"  # of the mark, and behind the page in light colours
_GRID, _FINER = 40, 4  # side of the mark in templates/brand.html; how much finer it is drawn before it is reduced
_NO_CACHE = {"Cache-Control": "no-cache"}

# Only the page itself passes through it, and always from the network: without its server it has nothing to show.
_WORKER = """// Lets the page be installed. Nothing is stored, neither the page nor anything of its visitors.
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  if (event.request.mode !== 'navigate') return;
  event.respondWith(fetch(event.request).catch(() => new Response(
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    + '<title>FaceLLM</title><body style="font: 18px system-ui, sans-serif; margin: 15vh 20px; max-width: 30em">'
    + '<p>FaceLLM’s server does not answer just now. Load this page again in a moment.</p>',
    {status: 503, headers: {'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store'}})));
});
"""


def manifest() -> dict:
    """The web app manifest (https://www.w3.org/TR/appmanifest/)."""
    icons = [
        {
            "src": name,
            "sizes": f"{side}x{side}",
            "type": "image/png",
            "purpose": "maskable" if filled else "any",
        }
        for name, (side, filled) in ICONS.items()
    ]
    return {
        "id": "./",
        "name": "FaceLLM: understanding faces",
        "short_name": texts.TITLE,
        "description": "Ask a vision-language model about a face.",
        "lang": "en",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "theme_color": TEAL,
        "background_color": PAGE,
        "icons": icons,
    }


def _strokes() -> Iterator[tuple[float, float]]:
    """Points along the mark's lines, as in templates/brand.html: a corner four times, and the smile."""
    steps = [i / 30 for i in range(31)]
    corner = [(9.0, 14 - 3 * t) for t in steps] + [(11 + 3 * t, 9.0) for t in steps]
    corner += [(11 - 2 * math.cos(t * math.pi / 2), 11 - 2 * math.sin(t * math.pi / 2)) for t in steps]
    for x, y in corner:
        yield from ((x, y), (_GRID - x, y), (x, _GRID - y), (_GRID - x, _GRID - y))
    for t in (i / 60 for i in range(61)):  # the cubic Bézier curve from (15, 24) to (25, 24)
        s = 1 - t
        x = 15 * s**3 + 3 * 17.6 * s * s * t + 3 * 22.4 * s * t * t + 25 * t**3
        yield x, 24 * s**3 + 3 * 26.4 * s * s * t + 3 * 26.4 * s * t * t + 24 * t**3


@functools.cache
def icon(side: int, filled: bool) -> bytes:
    """The page's mark as a PNG.

    Args:
        side: In px.
        filled: Its ground goes to the edges, in place of rounded corners on nothing. The mark keeps within the middle
            four fifths either way, which no system cuts off.
    """
    unit = side * _FINER / _GRID
    image = Image.new("RGBA", (side * _FINER,) * 2, TEAL if filled else (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    if not filled:
        pen.rounded_rectangle((0, 0, image.width - 1, image.height - 1), 11 * unit, TEAL)
    for (x, y), radius in [*((point, 1.0) for point in _strokes()), ((16, 18), 1.7), ((24, 18), 1.7)]:
        pen.ellipse([unit * edge for edge in (x - radius, y - radius, x + radius, y + radius)], "#ffffff")
    out = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


def routes() -> list[Route]:
    """What is served beside the page; nothing of it is private."""

    def told(request: Request) -> Response:
        return JSONResponse(manifest(), media_type="application/manifest+json", headers=_NO_CACHE)

    def drawn(request: Request) -> Response:
        return Response(icon(*ICONS[request.url.path.rsplit("/", 1)[-1]]), media_type="image/png")

    def worker(request: Request) -> Response:
        return Response(_WORKER, media_type="text/javascript", headers=_NO_CACHE)

    return [Route(MANIFEST, told), Route(WORKER, worker), *(Route(f"/{name}", drawn) for name in ICONS)]


def head(on: bool) -> str:
    """What the page's head says of it.

    Args:
        on: Whether the page can be installed. Where not, Gradio's link to a manifest goes, and so does a worker of ours
            from a time when it could be.
    """
    return render("installable", on=on, worker=WORKER.removeprefix("/"), icon=next(iter(ICONS)))

"""A model's words cannot have a visitor's browser go anywhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from demo.page.markdown import inert
from facellm.results import Answer, Delta
from tests.demo.conftest import eventually
from tests.demo.pages import DONE

HOSTILE = (
    "She **smiles**.\n\n![a](http://192.0.2.1/a.png) <img src=http://192.0.2.1/b.png>\n"
    '<style>@import "http://192.0.2.1/c.css"; body{background:url(http://192.0.2.1/d.png)}</style>\n'
    "[more](http://192.0.2.1/e) ![r][ref] <link rel=stylesheet href=http://192.0.2.1/f.css>\n"
    '<iframe src="http://192.0.2.1/g"></iframe><svg onload="fetch(\'http://192.0.2.1/h\')"></svg>\n\n'
    "[ref]: http://192.0.2.1/i.png"
)


def test_emphasis_stays_and_tags_links_and_images_are_text():
    assert inert("**Age**: 3 < 4, about 20.") == "**Age**: 3 < 4, about 20."
    assert inert("![a](b) [c](d) <b>") == r"!\[a](b) \[c](d) &lt;b>"
    assert inert("See http://a.example or www.a.example") == "See http&#58;//a.example or www&#46;a.example"


@pytest.mark.browser
def test_a_hostile_answer_loads_nothing(with_photo, site, monkeypatch):
    """The visit itself fails where the page asks another host for anything, or the console has an error."""

    def stream(view, rows, sampling, cancel, tiles=1):
        row = rows[0]
        answer = Answer(row.variant, row.key, row.question, HOSTILE, 9, 1.0, 0.1, 9.0, "stop", 0)
        yield Delta(0, HOSTILE, True, answer)

    monkeypatch.setattr(site.ctx.host, "stream", stream)
    page: Page = with_photo()
    page.fill("#chat-box textarea", "Who?")
    page.locator("#chat-box textarea").press("Enter")
    page.wait_for_selector(DONE)
    bubble = page.locator("#chat .bot.message").last
    assert bubble.locator("strong", has_text="smiles").count() == 1
    assert "http://192.0.2.1/a.png" in bubble.inner_text(), "it reads as the model wrote it"
    assert bubble.locator("img[src*='192.0.2.1'], style, link, iframe, svg[onload], a[href*='192.0.2.1']").count() == 0


@pytest.mark.browser
def test_the_policy_stops_what_would_get_through(browser, site):
    context = browser.new_context()
    page = context.new_page()
    stopped: dict[str, str] = {}
    page.on("requestfailed", lambda request: stopped.update({request.url: request.failure}))
    page.goto(site.url)
    page.wait_for_selector("#tabs [role=tab]")
    page.evaluate(
        """() => {
          const image = new Image(); image.src = 'http://192.0.2.1/a.png'; document.body.append(image);
          const link = document.createElement('link'); link.rel = 'stylesheet'; link.href = 'http://192.0.2.1/b.css';
          document.head.append(link);
          const script = document.createElement('script'); script.src = 'http://192.0.2.1/c.js';
          document.head.append(script);
        }"""
    )
    eventually(lambda: page.wait_for_timeout(50) or len(stopped) == 3, seconds=60, what=f"stopped: {stopped}")
    assert set(stopped.values()) == {"csp"}
    context.close()

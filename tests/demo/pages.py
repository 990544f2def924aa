"""What the browser tests do on a page again and again."""

from __future__ import annotations

import base64
from pathlib import Path

from demo.page import texts

DONE = "#chat-status .more"


def starter(key: str) -> str:
    """The selector of the chip that asks for an attribute."""
    return f'[data-starter="{texts.STARTERS[key]}"]'


def tab(page, name: str) -> None:
    """Open a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def drop(page, selector: str, path: Path, kind: str = "image/jpeg") -> None:
    """Drop a file on the element of that selector."""
    dropped = page.evaluate_handle(
        """([text, name, type]) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name, {type}));
          return data;
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name, kind],  # a list of numbers takes seconds
    )
    page.dispatch_event(selector, "drop", {"dataTransfer": dropped})


def set_slider(page, label: str, value: int) -> None:
    """Set a slider of the settings through its number field."""
    settings = page.locator("#settings")
    if not settings.get_by_label(f"number input for {label}").is_visible():
        settings.get_by_role("button", name="Settings").click()
    field = settings.get_by_label(f"number input for {label}")
    for _ in range(5):  # the page may still be wiring up what the accordion has just shown
        field.fill(str(value))
        field.press("Tab")
        if settings.get_by_label(f"range slider for {label}").input_value() == str(value):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"the slider {label!r} did not take {value}")


def link_bytes(page, selector: str) -> bytes:
    """What a download link saves."""
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_bytes()


def replies(page) -> list[str]:
    return page.locator("#chat .bot.message").all_inner_texts()

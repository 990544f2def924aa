"""Twenty things a newcomer wants to do, done by the words on the page alone: no selector but names, labels and text.

docs/demo.md lists them. A visitor reads the page as these tests do, so a control without a name fails here.
"""

from __future__ import annotations

import re

import pytest

from demo.runtime.photos import EXAMPLES
from tests.demo.conftest import eventually
from tests.demo.pages import drop

pytestmark = pytest.mark.browser


class Visitor:
    """Somebody who sees the page and has read nothing about it."""

    def __init__(self, page, scripted) -> None:
        self.page, self.scripted = page, scripted

    def press(self, name: str | re.Pattern[str]) -> None:
        found = self.page.get_by_role("button", name=name, exact=True).filter(visible=True)
        found.first.wait_for()
        assert found.count() == 1, f"{found.count()} buttons are called {name!r}"
        found.click()

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def choose(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).filter(visible=True).check()

    def write(self, named: str, text: str) -> None:
        """Into the field with that label, or those words in it."""
        field = self.page.get_by_label(named, exact=True).or_(self.page.get_by_placeholder(named, exact=True))
        field.filter(visible=True).fill(text)

    def read(self, text: str | re.Pattern[str]) -> None:
        self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def saved(self, name: str, within: str) -> bytes:
        """What a link below that heading saves."""
        with self.page.expect_download() as download:
            self.page.locator(f'text="{within}"').locator("..").get_by_text(name, exact=True).click()
        return download.value.path().read_bytes()

    def asked(self) -> str:
        """The last question that the model got."""
        return self.scripted.asked[-1][0].question


@pytest.fixture
def stranger(visit, scripted):
    page = visit()
    page.set_default_timeout(60_000)
    return Visitor(page, scripted)


def test_with_a_photo(stranger, portrait):
    # 1: bring a photo of one's own, by the box, by its name
    with stranger.page.expect_file_chooser() as chooser:
        stranger.page.get_by_text("drop it here or click to choose").click()
    chooser.value.set_files(portrait)
    stranger.read("1 face found")
    # 2: take another one
    stranger.press("Choose another photo")
    # 3: try an example with several people, and choose one of them
    stranger.press("Use the example: Four people (NASA)")
    stranger.read("4 faces found")
    stranger.press("Face 3 of 4")
    stranger.read("Face 3 is chosen; click another box to change.")
    # 4: drop a photo while another one is shown
    drop(stranger.page, "h1", EXAMPLES / "coffee.jpg")
    stranger.read("No face found")
    # 5: ask about a photo without a face, knowing it
    stranger.press("Ask anyway")
    stranger.write("Ask about this face…", "What is on the table?")
    stranger.press("Send")
    stranger.read(stranger.scripted.text)
    # 6: show the whole photo instead of the face
    stranger.press("Choose another photo")
    stranger.press("Use the example: Eileen Collins (NASA)")
    stranger.read("1 face found")  # until then the column moves under the pointer
    stranger.press(re.compile("^Settings"))
    stranger.choose("Whole photo")
    stranger.read("The model sees the whole photo.")


def test_in_the_chat(stranger):
    page, scripted = stranger.page, stranger.scripted
    stranger.press("Use the example: Eileen Collins (NASA)")
    stranger.read("1 face found")
    # 7: ask in one's own words, and go on from the answer
    for question in ("what colour is her hair, and does she wear glasses?", "are you sure?"):
        stranger.write("Ask about this face…", question)
        stranger.press("Send")
        eventually(lambda question=question: scripted.asked and stranger.asked() == question)
        stranger.read(re.compile(r"FaceLLM · [\d.]+ s"))
    assert scripted.asked[-1][0].history, "the turn before is told"
    # 8: start with a question that is offered
    page.get_by_role("toolbar", name="Questions to start with").get_by_role("button").first.click()
    eventually(lambda: len(scripted.asked) == 3)
    stranger.read(re.compile(r"FaceLLM · [\d.]+ s"))
    # 9: stop an answer
    scripted.hold = True
    stranger.write("Ask about this face…", "Tell me everything")
    stranger.press("Send")
    stranger.press("Stop")
    stranger.read(re.compile("stopped", re.I))
    scripted.hold = False
    # 10: keep the chat
    assert b"are you sure?" in stranger.saved("Markdown", "Save the chat")
    # 11: share an answer as a picture without the photo
    with page.expect_download() as picture:
        stranger.press("without photo")
    assert picture.value.suggested_filename.endswith(".png")
    # 12: begin anew
    stranger.press("New chat")
    stranger.read("What would you like to know about this face?")


def test_side_by_side(stranger):
    stranger.press("Use the example: Eileen Collins (NASA)")
    stranger.read("1 face found")
    # 13: have all eight attributes described, and keep them
    stranger.open("Attributes")
    stranger.press("Describe all eight")
    eventually(lambda: stranger.page.get_by_text(stranger.scripted.text).filter(visible=True).count() == 8)
    assert b"Eileen" not in stranger.saved("Web page", "Download the report"), "names of files tell who it is"
    # 14: see what the training changed
    stranger.open("Compare")
    stranger.press("Compare")
    stranger.read(re.compile("2 answers"))
    # 15: judge without knowing who says what
    stranger.page.get_by_label("Blind test").check()
    stranger.press("Compare")
    stranger.read(re.compile("Which answer is better?"))
    stranger.press(re.compile("tie|same", re.I))
    # 16: ask two photos one question
    stranger.choose("Two photos")
    stranger.page.get_by_text("Second photo", exact=True).wait_for()
    stranger.page.get_by_role("toolbar", name="Example photos").get_by_role("button").nth(2).click()
    stranger.write("Question to both photos", "Is this person smiling?")
    stranger.press("Ask both")
    eventually(lambda: stranger.page.get_by_text(stranger.scripted.text).filter(visible=True).count() == 2)


def test_as_numbers(stranger):
    page, scripted = stranger.page, stranger.scripted
    scripted.calibrated = {"expression": "happiness"}
    stranger.press("Use the example: Four people (NASA)")
    stranger.read("4 faces found")
    stranger.open("Profile")
    # 17: probabilities, as a file
    stranger.press("Measure the profile")
    stranger.read(re.compile(r"Measured in [\d.]+ s"))
    assert b"happiness" in stranger.saved("CSV", "Download the profile")
    # 18: why the model thinks so
    page.get_by_role("button", name=re.compile("^Why.*happiness|^Why.*xpression")).first.click()
    stranger.read("Why this answer?")
    stranger.press("Close")
    # 19: everybody in the photo, one row each; from there to a face
    stranger.press("Measure all faces")
    stranger.press("Open face 2")
    stranger.read("Face 2 is chosen; click another box to change.")
    # 20: which model this is, and what it was trained on
    stranger.press("Model card")
    stranger.read("Run it elsewhere")

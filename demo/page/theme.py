"""Colours, type and scripts of the page. System fonts only: the first load must need no other host.

Input: nothing. What this file does not know: the tabs.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).parent / "style.css"

_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")

# Esc presses the visible stop button; the consent line, once read, stays away; so does the theme button's choice; the
# place in the queue, which Gradio writes as "queue: 2/5 |", is said in words on the tab's status line.
HEAD = """
<meta name="color-scheme" content="light dark">
<style>
/* Here and not in style.css: Gradio prefixes that file's rules, which breaks those about its own outermost elements. */
body { background: var(--body-background-fill) !important; }
.gradio-container { overflow: clip !important; } /* hidden would make it a scroller, and nothing in it sticky */
.gradio-container > .main { padding: 8px 0 !important; }
footer .divider { display: none !important; }
footer { gap: 18px; }
@media (max-width: 760px) { .gradio-container { padding: 0 12px 20px !important; } }
</style>
<script>
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  const stop = [...document.querySelectorAll('button.stop, button.stop-button, .stop button')]
    .find((button) => button.offsetParent !== null);
  if (stop) { stop.click(); event.preventDefault(); }
});
const remembered = (key, value) => {
  try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); }
  catch { return null; }
};
// A choice made in Gradio's own settings comes in the address, and goes first.
let look = new URLSearchParams(location.search).has('__theme') ? null : remembered('facellm-theme');
const dress = () => { // Gradio follows the system: at its start, and whenever that changes
  if (look) document.body.classList.toggle('dark', look === 'dark');
  const dark = String(document.body.classList.contains('dark'));
  const button = document.querySelector('#theme');
  if (button && button.getAttribute('aria-pressed') !== dark) button.setAttribute('aria-pressed', dark);
};
const follow = () => new MutationObserver(dress).observe(document.body, {attributeFilter: ['class']});
if (document.body) follow(); else document.addEventListener('DOMContentLoaded', follow);
if (remembered('facellm-consent')) document.documentElement.classList.add('consent-read');
document.addEventListener('click', (event) => {
  if (event.target.closest('#consent-read')) {
    remembered('facellm-consent', '1');
    document.documentElement.classList.add('consent-read');
  }
  if (event.target.closest('#theme')) {
    look = document.body.classList.contains('dark') ? 'light' : 'dark';
    remembered('facellm-theme', look);
    dress();
  }
});
new MutationObserver(() => {
  if (document.body) dress();
  for (const tracker of document.querySelectorAll('.status-line [data-testid="status-tracker"]')) {
    const place = /queue: *([0-9]+)/.exec(tracker.textContent);
    const line = tracker.closest('.status-line').querySelector('.status.busy');
    if (!place || !line) continue;
    const before = Number(place[1]) - 1;
    const words = before > 0 ? `Waiting in the queue, ${before} before you` : 'Waiting in the queue, you are next';
    if (line.textContent !== words) line.textContent = words;
  }
}).observe(document.documentElement, {subtree: true, childList: true, characterData: true});
</script>
"""


def theme() -> gr.themes.Base:
    """Slate neutrals, one teal accent."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=_SANS,
        font_mono=_MONO,
    )
    return made.set(
        body_background_fill="#f6f8f9",
        body_background_fill_dark="#0d1417",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#141d21",
        background_fill_secondary="#f1f4f6",
        background_fill_secondary_dark="#10181b",
        block_background_fill="#ffffff",
        block_background_fill_dark="#141d21",
        block_border_color="#dde4e8",
        block_border_color_dark="#26343a",
        border_color_primary="#dde4e8",
        border_color_primary_dark="#26343a",
        block_shadow="none",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_label_background_fill="*background_fill_secondary",
        block_label_background_fill_dark="*background_fill_secondary",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0f171a",
        input_border_color="#c9d3d9",
        input_border_color_dark="#33444b",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#0b5f59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#128077",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="#eef3f4",
        button_secondary_background_fill_dark="#1b272c",
        button_secondary_background_fill_hover_dark="#22323a",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_secondary_border_color="#c9d3d9",
        button_secondary_border_color_dark="#33444b",
        button_cancel_background_fill="#b4232c",
        button_cancel_background_fill_hover="#961c24",
        button_cancel_background_fill_dark="#b4232c",
        button_cancel_background_fill_hover_dark="#c92c36",
        button_cancel_text_color="#ffffff",
        button_cancel_text_color_dark="#ffffff",
        slider_color="#0f766e",
        slider_color_dark="#2dd4bf",
        checkbox_label_background_fill_selected="#e4f3f1",
        checkbox_label_background_fill_selected_dark="#173b39",
        checkbox_label_text_color_selected="#0b4f4a",
        checkbox_label_text_color_selected_dark="#d3f4ef",
        checkbox_background_color_selected="#0f766e",
        checkbox_background_color_selected_dark="#0f766e",
        checkbox_border_color_selected="#0f766e",
        checkbox_border_color_selected_dark="#2dd4bf",
        link_text_color="#0f6a63",
        link_text_color_dark="#5fd9cc",
    )

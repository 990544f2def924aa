// Runs in the page's head, before Gradio's own scripts.
// Esc closes what lies over the page, else it presses the visible stop button.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  const stops = document.querySelectorAll('button.stop, button.stop-button, .stop button');
  const ends = [...document.querySelectorAll('#why-close'), ...stops].find((button) => button.offsetParent !== null);
  if (ends) { ends.click(); event.preventDefault(); }
});

// The consent line, once read, stays away; so does the theme button's choice.
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
  const opens = event.target.closest('[data-open]');
  if (opens) document.querySelector(`#tabs [role=tab][data-tab-id=${opens.dataset.open}]`)?.click();
  if (event.target.closest('#theme')) {
    look = document.body.classList.contains('dark') ? 'light' : 'dark';
    remembered('facellm-theme', look);
    dress();
  }
});

// What is copied are the model's words, without the chips between them.
if (navigator.clipboard) {
  const write = navigator.clipboard.writeText.bind(navigator.clipboard);
  navigator.clipboard.writeText = (text) => write(text.replace(/ ?<span class="claim[^]*?<\/span>/g, ''));
}

// The place in the queue, which Gradio writes as "queue: 2/5 |", is said in words on the tab's status line.
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

// On a narrow page the chat moves under the photo's strip when something is said, or its words would be below the box.
let said = 0;
new MutationObserver(() => {
  const chat = document.querySelector('#chat');
  const now = chat?.querySelectorAll('.message').length ?? 0;
  if (now > said && chat.offsetParent && matchMedia('(max-width: 760px)').matches) chat.scrollIntoView({block: 'start'});
  said = now;
}).observe(document.documentElement, {subtree: true, childList: true});

// A photo may be dropped or pasted anywhere, also while another one is shown; no file makes the browser leave the page.
const LIMIT = 20; // MB, as the server takes them
// The second photo's own part of the page takes files for itself.
const SECOND = '#compare-photos';
const fits = (file, where) => {
  // What an earlier file got said is of no use any more.
  for (const close of document.querySelectorAll('.toast-close')) close.click();
  document.querySelector(`#${where}-notice .notice`)?.setAttribute('hidden', '');
  if (file.size <= LIMIT * 2 ** 20) return true;
  const text = `The file has ${Math.ceil(file.size / 2 ** 20)} MB: choose one of at most ${LIMIT} MB.`;
  window.dispatchEvent(new CustomEvent('facellm-refused', {detail: {text, where}}));
  return false;
};
const take = (file, target) => {
  const where = target.closest?.(SECOND) ? 'second' : 'photo';
  const inputs = {photo: '[data-testid="Photo-upload-button"]', second: `${SECOND} input[type=file]`};
  const input = document.querySelector(inputs[where]);
  if (!file || !input || !fits(file, where)) return;
  const given = new DataTransfer();
  given.items.add(file);
  input.files = given.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
};
const writes = (event) => event.target.closest?.('textarea, input:not([type=file])');
const carries = (event, kind) => [...(event.dataTransfer?.types ?? [])].includes(kind);
const over = (event, on) => document.documentElement.classList.toggle('dragging', on && carries(event, 'Files'));
for (const name of ['dragenter', 'dragover']) {
  document.addEventListener(name, (event) => {
    if (carries(event, 'Files') || (carries(event, 'text/uri-list') && !writes(event))) event.preventDefault();
    over(event, true);
  }, true);
}
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) over(event, false); }, true);
document.addEventListener('drop', (event) => {
  over(event, false);
  if (carries(event, 'Files')) {
    event.preventDefault();
    event.stopImmediatePropagation();
    take(event.dataTransfer.files[0], event.target);
  } else if (carries(event, 'text/uri-list') && !writes(event)) event.preventDefault();
}, true);
document.addEventListener('paste', (event) => {
  const file = event.clipboardData?.files[0];
  if (!file || (writes(event) && event.clipboardData.getData('text'))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  take(file, event.target);
}, true);
document.addEventListener('change', (event) => {
  const file = event.target.matches?.(`:is(#photo, ${SECOND}) input[type=file]`) && event.target.files[0];
  if (!file || fits(file, event.target.closest(SECOND) ? 'second' : 'photo')) return;
  event.stopImmediatePropagation();
  event.target.value = '';
}, true);

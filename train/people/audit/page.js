// Keys and clicks of the judging part. Sends what was meant, and which pair was on the screen when it was meant.
const acts = {
  1: 'mark:supported', 2: 'mark:not visible', 3: 'mark:wrong', u: 'undo', U: 'undo',
  ArrowUp: 'sentence:-1', ArrowDown: 'sentence:1', ArrowLeft: 'pair:-1', ArrowRight: 'pair:1',
};
const send = (act) => {
  const shown = element.querySelector('[data-item]');
  if (shown) trigger('act', { act, item: shown.dataset.item });
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (!button) return;
  send(button.dataset.act);
  button.blur(); // keys belong to the page again
});
document.addEventListener('keydown', (event) => {
  const act = acts[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (!element.isConnected || element.offsetParent === null) return; // another tab of the page is open
  if (event.target.closest('input, textarea, select, [contenteditable=true]')) return;
  if (event.key.startsWith('Arrow') && event.target.closest('[role=tab]')) return; // arrows change tabs there
  event.preventDefault();
  send(act);
});

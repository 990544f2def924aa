// What a tab remembers while it lives: a random key by which the server knows it again, and the settings. The address says
// which tab of the page is open, so that a link to it can be copied; no photo is in it.
const facellm = {
  NAMES: ['system', 'tokens', 'temperature', 'top_p', 'seed', 'look', 'tiles'],
  OWN: ['', 256, 0, 1, 0, 'face', 1],
  get(name) { try { return JSON.parse(sessionStorage.getItem(name)); } catch { return null; } },
  set(name, value) { try { sessionStorage.setItem(name, JSON.stringify(value)); } catch { /* a browser that keeps nothing */ } },
  remembered() {
    let key = this.get('facellm-key');
    if (!key) {
      key = [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, '0')).join('');
      this.set('facellm-key', key);
    }
    return JSON.stringify({key, settings: this.get('facellm-settings')});
  },
  remember(values) { this.set('facellm-settings', values); },
  link() {
    const address = new URL(location.href);
    (this.get('facellm-settings') ?? this.OWN).forEach((value, i) => {
      if (i && value !== this.OWN[i]) address.searchParams.set(this.NAMES[i], value);
      else address.searchParams.delete(this.NAMES[i]);
    });
    return address.href;
  },
};
window.facellm = facellm;
new MutationObserver((changes) => {
  for (const {target} of changes) {
    const name = target.dataset?.tabId;
    if (!name || target.getAttribute('aria-selected') !== 'true' || !target.closest('#tabs')) continue;
    const address = new URL(location.href);
    if ((address.searchParams.get('tab') ?? 'chat') === name) continue;
    address.searchParams.set('tab', name);
    history.replaceState(history.state, '', address);
  }
}).observe(document.documentElement, {subtree: true, attributeFilter: ['aria-selected']});
document.addEventListener('click', async (event) => {
  const link = event.target.closest('#copy-link');
  if (link) {
    const said = link.querySelector('span');
    try { await navigator.clipboard.writeText(facellm.link()); said.textContent = 'Copied'; }
    catch { window.prompt('', facellm.link()); }
    setTimeout(() => { said.textContent = 'Copy link'; }, 2000);
  }
  if (event.target.closest('.skip')) {
    event.preventDefault();
    document.querySelector('#tabs [role=tab][data-tab-id=chat]')?.click();
    setTimeout(() => document.querySelector('#chat-box textarea')?.focus(), 100);
  }
  const heading = event.target.closest('[data-sort]')?.closest('th');
  if (heading) {
    const rows = [...heading.closest('table').querySelectorAll('tbody tr')];
    const down = heading.getAttribute('aria-sort') === 'ascending';
    heading.parentElement.querySelectorAll('th').forEach((th) => th.removeAttribute('aria-sort'));
    heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const order = (row) => Number(row.children[heading.cellIndex].dataset.order);
    rows.sort((a, b) => (order(a) - order(b)) * (down ? -1 : 1)).forEach((row) => row.parentElement.append(row));
  }
});

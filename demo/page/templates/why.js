// The box of a "Why?" is seen while there is something in it. The focus goes into it and comes back to the button; Tab
// stays within it; closing it is seen at once, and told to the server, which ends what is being measured.
{
  let asked = null, open = false;
  const box = () => document.querySelector('#why');
  const follow = () => {
    const here = box();
    if (!here) return;
    const now = !here.classList.contains('shut') && here.querySelector('.status, .why-maps') !== null;
    if (now === open) return;
    open = now;
    if (open) {
      const marks = {role: 'dialog', 'aria-labelledby': 'why-title', tabindex: '-1'};
      for (const [name, value] of Object.entries(marks)) here.setAttribute(name, value);
      here.scrollTop = 0;
      here.focus({preventScroll: true});
    } else if (here.contains(document.activeElement) || document.activeElement === document.body) {
      const again = asked?.isConnected ? asked : document.querySelector(`[data-why="${asked?.dataset.why}"]`);
      (again?.checkVisibility() ? again : document.querySelector('#tabs [role=tab][aria-selected=true]'))?.focus();
    }
  };
  new MutationObserver(follow).observe(document.documentElement, {subtree: true, childList: true, attributeFilter: ['class']});
  document.addEventListener('click', (event) => {
    asked = event.target.closest('[data-why]') ?? asked;
    if (event.target.closest('[data-why]')) box().classList.remove('shut');
    if (event.target.closest('#why-close')) box().classList.add('shut');
  });
  document.addEventListener('input', (event) => {
    if (event.target.id === 'why-strength') box().style.setProperty('--strength', event.target.value / 100);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Tab' || !open || !box().contains(document.activeElement)) return;
    const stops = [...box().querySelectorAll('button, input, summary')].filter((one) => one.checkVisibility());
    const [first, last, now] = [stops[0], stops.at(-1), document.activeElement];
    const next = event.shiftKey ? now === first || now === box() ? last : null : now === last ? first : null;
    if (next) { next.focus(); event.preventDefault(); }
  });
}

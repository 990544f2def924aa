// Tab stops once at a group of like controls (tabs, ways to add a photo, examples, faces, questions to start with);
// arrows, Home and End go on within it: the roving tabindex of the ARIA patterns for toolbars and tabs. Gradio names
// every radio apart; radios of one question get one name, and the browser does the same for them.
{
  const GROUPS = '[role=toolbar], #tabs [role=tablist], #photo .source-selection';
  const members = (group) => [...group.querySelectorAll('button')].filter((one) => !one.disabled);
  const settle = (group) => {
    const all = members(group);
    const stop = all.find((one) => one === document.activeElement)
      ?? all.find((one) => one.getAttribute('aria-selected') === 'true') ?? all.find((one) => one.tabIndex === 0) ?? all[0];
    for (const one of all) if (one.tabIndex !== (one === stop ? 0 : -1)) one.tabIndex = one === stop ? 0 : -1;
  };
  let asked = false, named = 0;
  const all = () => {
    asked = false;
    document.querySelectorAll(GROUPS).forEach(settle);
    for (const radio of document.querySelectorAll('fieldset input[type=radio]')) {
      const question = radio.closest('fieldset');
      question.dataset.radios ??= `radios-${named += 1}`;
      if (radio.name !== question.dataset.radios) radio.name = question.dataset.radios;
    }
  };
  const soon = () => { if (!asked) { asked = true; requestAnimationFrame(all); } };
  new MutationObserver(soon).observe(document.documentElement,
    {subtree: true, childList: true, attributeFilter: ['aria-selected', 'disabled', 'name']});
  document.addEventListener('focusin', (event) => {
    const group = event.target.closest(GROUPS);
    if (group) settle(group);
  });
  document.addEventListener('keydown', (event) => {
    const group = event.target.closest?.(GROUPS);
    if (!group || event.altKey || event.ctrlKey || event.metaKey) return;
    const seen = members(group).filter((one) => one.checkVisibility());
    const at = seen.indexOf(event.target);
    const row = seen.filter((one) => one.offsetTop === seen[0].offsetTop).length; // several rows: up and down go by one
    const down = row < seen.length ? row : 1;
    const steps = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down, Home: -at, End: seen.length - 1 - at};
    if (at < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const to = at + steps[event.key];
    const next = Math.abs(steps[event.key]) === 1 ? seen.at(to % seen.length) : seen[to];
    if (!next) return;
    next.focus();
    if (next.role === 'tab') next.click();
  });
}

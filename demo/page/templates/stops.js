// Tab stops once at a group of like controls (all ways to give a photo or its faces, tabs, questions to start with);
// arrows, Home and End go on within it: the roving tabindex of the ARIA patterns for toolbars and tabs. Gradio names
// every radio apart; radios of one question get one name, and the browser does the same for them.
{
  const TOOLBARS = {'#giving': 'Photo', '#second-examples': 'Example photos'};
  const GROUPS = ['[role=toolbar]', '#tabs [role=tablist]', ...Object.keys(TOOLBARS)].join();
  const members = (group) => [...group.querySelectorAll('button')].filter((one) => !one.disabled && one.checkVisibility());
  const settle = (group) => {
    const all = members(group);
    const stop = all.find((one) => one === document.activeElement)
      ?? all.find((one) => one.getAttribute('aria-selected') === 'true') ?? all.find((one) => one.tabIndex === 0) ?? all[0];
    for (const one of all) if (one.tabIndex !== (one === stop ? 0 : -1)) one.tabIndex = one === stop ? 0 : -1;
  };
  // The nearest in the next row below (sign 1) or above (-1), by where the eye sees them.
  const beyond = (all, from, sign) => {
    const here = from.getBoundingClientRect();
    const places = all.map((one) => [one, one.getBoundingClientRect()])
      .map(([one, box]) => [one, sign > 0 ? box.top - here.bottom : here.top - box.bottom, Math.abs(box.left + box.right - here.left - here.right)])
      .filter(([one, gap]) => one !== from && gap > -4);
    const next = Math.min(...places.map(([, gap]) => gap)) + 8;
    return places.filter(([, gap]) => gap <= next).sort((a, b) => a[2] - b[2])[0]?.[0];
  };
  let asked = false, named = 0;
  const all = () => {
    asked = false;
    for (const [selector, label] of Object.entries(TOOLBARS)) {
      const group = document.querySelector(selector);
      if (group && group.role !== 'toolbar') { group.role = 'toolbar'; group.ariaLabel = label; }
    }
    document.querySelectorAll(GROUPS).forEach(settle);
    for (const radio of document.querySelectorAll('fieldset input[type=radio]')) {
      const question = radio.closest('fieldset');
      question.dataset.radios ??= `radios-${named += 1}`;
      if (radio.name !== question.dataset.radios) radio.name = question.dataset.radios;
    }
  };
  const soon = () => { if (!asked) { asked = true; requestAnimationFrame(all); } };
  new MutationObserver(soon).observe(document.documentElement,
    {subtree: true, childList: true, attributeFilter: ['aria-selected', 'class', 'disabled', 'name', 'style']});
  document.addEventListener('focusin', (event) => {
    const group = event.target.closest(GROUPS);
    if (group) settle(group);
  });
  document.addEventListener('keydown', (event) => {
    const group = event.target.closest?.(GROUPS);
    if (!group || event.altKey || event.ctrlKey || event.metaKey) return;
    const seen = members(group);
    const at = seen.indexOf(event.target);
    if (at < 0) return;
    const one = event.target, after = seen[(at + 1) % seen.length], before = seen.at(at - 1);
    const rows = [1, -1].some((sign) => beyond(seen, one, sign)); // in a single row up and down go by one
    const steps = {
      ArrowRight: after, ArrowLeft: before, Home: seen[0], End: seen.at(-1),
      ArrowDown: rows ? beyond(seen, one, 1) ?? one : after, ArrowUp: rows ? beyond(seen, one, -1) ?? one : before,
    };
    const next = steps[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
    if (next.role === 'tab') next.click();
  });
}

// The page's own words in the browser's language, from the table that Gradio hands over (demo/page/languages). Labels of
// components are Gradio's to translate; this does the rest. A model's words and a visitor's stay as they are.
const tongue = {{ languages | list | tojson }}.find((code) => navigator.language.toLowerCase().split('-')[0] === code);
if (tongue) {
  let exact, patterns;
  const KEPT = '.message.bot, .answer, .side .text, .pair h3, .bars .label, textarea, script, style, pre, code';
  const flat = (text) => text.replace(/\s+/g, ' ').trim();
  const table = () => {
    const words = window.gradio_config?.i18n_translations?.[tongue];
    if (exact || !words) return exact;
    const literal = (text) => text.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
    patterns = Object.entries(words).filter(([key]) => key.includes('{}'))
      .map(([key, said]) => [new RegExp(`^${literal(key).replaceAll('{}', '(.+?)')}$`), said]);
    exact = new Map(Object.entries(words));
    document.documentElement.lang = tongue;
    document.documentElement.dataset.tongue = tongue;
    return exact;
  };
  const said = (text) => {
    const key = flat(text);
    if (!key || key.length > 400) return null;
    if (exact.has(key)) return exact.get(key);
    for (const [pattern, words] of patterns) {
      const found = pattern.exec(key);
      if (found) { let n = 0; return words.replaceAll('{}', () => found[(n += 1)]); }
    }
    return null;
  };
  const LABELS = ['placeholder', 'aria-label', 'title'];
  const label = (node) => {
    if (!table()) return;
    for (const name of LABELS) {
      const words = node.hasAttribute(name) ? exact.get(flat(node.getAttribute(name))) : undefined;
      if (words !== undefined && words !== node.getAttribute(name)) node.setAttribute(name, words);
    }
  };
  const speak = (node) => {
    if (!table()) return;
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.parentElement?.closest(KEPT)) return;
      const words = said(node.data);
      if (words !== null && words !== flat(node.data)) {
        node.data = (/^\s/.test(node.data) ? ' ' : '') + words + (/\s$/.test(node.data) ? ' ' : '');
      }
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      label(node);
      node.childNodes.forEach(speak);
    }
  };
  new MutationObserver((changes) => {
    for (const {type, target, addedNodes} of changes) {
      if (type === 'childList') addedNodes.forEach(speak); else if (type === 'attributes') label(target); else speak(target);
    }
  }).observe(document.documentElement, {subtree: true, childList: true, characterData: true, attributeFilter: LABELS});
  document.addEventListener('DOMContentLoaded', () => speak(document.body));
}

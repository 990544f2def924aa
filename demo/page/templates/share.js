// A picture of the last answer, made here in the browser: the photo blurred past recognition, or left out.
const wrapped = (pen, text, width) => text.split(/\n+/).flatMap((block) => {
  const lines = [''];
  for (const word of block.split(/\s+/)) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (lines.at(-1) && pen.measureText(longer).width > width) lines.push(word); else lines[lines.length - 1] = longer;
  }
  return lines;
});
const drawn = (told, photo) => {
  const [side, edge] = [1080, 72];
  const canvas = Object.assign(document.createElement('canvas'), {width: side, height: 10});
  const pen = canvas.getContext('2d');
  const sans = 'ui-sans-serif, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const parts = [
    [`600 44px ${sans}`, '#12222b', 60, told.question], [`36px ${sans}`, '#12222b', 52, told.answer],
    [`28px ${sans}`, '#566470', 40, `${told.model}. An estimate from one picture, not a fact about a person.`],
  ].map(([font, colour, step, text]) => {
    pen.font = font;
    return {font, colour, step, lines: wrapped(pen, text, side - 2 * edge).slice(0, 24)};
  });
  const top = photo ? 460 : 0;
  canvas.height = top + 2 * edge + parts.reduce((sum, part) => sum + part.lines.length * part.step + 36, 0);
  pen.fillStyle = '#f6f8f9';
  pen.fillRect(0, 0, side, canvas.height);
  if (photo) {
    // Drawn a few pixels small first: that, unlike a filter, cannot be undone, and it works in every browser.
    const small = Object.assign(document.createElement('canvas'), {width: 14, height: 6});
    const scale = Math.max(14 / photo.naturalWidth, 6 / photo.naturalHeight);
    const [w, h] = [photo.naturalWidth * scale, photo.naturalHeight * scale];
    small.getContext('2d').drawImage(photo, (14 - w) / 2, (6 - h) / 3, w, h);
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(small, 0, 0, 14, 6, 0, 0, side, top);
  }
  pen.fillStyle = '#0f766e';
  pen.fillRect(0, top, side, 10);
  let y = top + edge + 30;
  for (const part of parts) {
    Object.assign(pen, {font: part.font, fillStyle: part.colour});
    for (const line of part.lines) { pen.fillText(line, edge, y); y += part.step; }
    y += 36;
  }
  return canvas;
};
document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-share]');
  if (!button) return;
  const photo = button.dataset.share === 'blurred' ? document.querySelector('#stage .frame img') : null;
  drawn(button.parentElement.dataset, photo).toBlob(async (blob) => {
    const file = new File([blob], 'facellm-answer.png', {type: 'image/png'});
    const touch = matchMedia('(pointer: coarse)').matches;
    if (touch && navigator.canShare?.({files: [file]})) {
      try { await navigator.share({files: [file]}); return; } catch (error) { if (error.name === 'AbortError') return; }
    }
    const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(file), download: file.name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
});

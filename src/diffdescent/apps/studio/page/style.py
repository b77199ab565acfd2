"""The look of the page and its few lines of script; nothing comes from the network."""

from __future__ import annotations

from typing import Any

CSS = """
.gradio-container { max-width: 1500px !important; }
.dd-pixels { image-rendering: pixelated; width: 100%; max-width: 320px; aspect-ratio: auto; }
.gradio-container { --block-info-text-color: #6b7280; }
.dark, .dark .gradio-container { color-scheme: dark; --block-info-text-color: #a1a1aa; }
.dd-figure { max-width: min(100%, 1100px); background: white; }
@media (max-width: 700px) { .dd-wide > .dd-figure { max-width: 640px; } }
.dd-lane { margin: 0; min-height: 230px; }
.dd-lane figcaption { font-size: 0.85rem; line-height: 1.4; min-height: 2.8em; }
.dd-empty { aspect-ratio: 1; max-width: 320px; border: 1px dashed #8886; border-radius: 4px; }
.dd-mistake { color: #b3261e; font-size: 0.9rem; margin: 0.2rem 0; }
.dark .dd-mistake { color: #ff8a80; }
.dd-note { font-size: 0.9rem; margin: 0.2rem 0; }
.dd-wide { overflow-x: auto; }
.dd-table, .dd-sweep { border-collapse: collapse; font-size: 0.85rem; }
.dd-table td, .dd-table th { border: 1px solid #8884; padding: 0.25rem 0.5rem; text-align: left; }
.dd-sweep td { padding: 2px; text-align: center; min-width: 72px; }
.dd-sweep .dd-pixels { width: 96px; margin: 0 auto; }
.dd-sweep td, .dd-sweep th { border: 1px solid #8884; padding: 4px 8px; }
.dd-reading h3 { margin: 1.2rem 0 0.4rem; }
.dd-reading h3:first-child { margin-top: 0; }
.dd-each { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); }
.dd-each { gap: 1.5rem; margin-top: 0.8rem; }
.dd-each section { min-width: 0; }
.dd-each .dd-figure { width: 100%; }
.dd-problem:not(:has(.dd-mistake:not([hidden]))) { display: none !important; }
#problem-size:has(.dd-mistake:not([hidden])) ~ #problem-upload { display: none !important; }
.dd-help p { margin: 0; font-size: 0.9rem; }
.dd-row { display: flex; flex-wrap: wrap; gap: 1rem; }
.dd-row figure { margin: 0; width: min(260px, 45%); font-size: 0.85rem; }
.dd-gone, .form:has(> .dd-gone:only-child) { display: none !important; }
#intro p { margin: 0; }
"""

SCRIPT = """
<script>
window.dd = {
  scrub: (share) => {
    document.querySelectorAll('.dd-lane[data-done]').forEach((lane) => {
      const frames = lane.querySelectorAll('img[data-frame]');
      const at = Math.round(share * (frames.length - 1));
      frames.forEach((frame, i) => { frame.hidden = i !== at; });
      const where = lane.querySelector('.dd-where');
      if (where && frames[at]) where.textContent = frames[at].dataset.where;
    });
  },
  // The address of what the fields show: recipes always, of the rest what is not the default.
  address: (plain, values) => {
    const shown = {}, query = new URLSearchParams();
    Object.keys(plain).forEach((name, i) => { shown[name] = values[i]; });
    for (const [name, value] of Object.entries(shown)) {
      const lane = name.match(/^(recipe|grid|budget)([1-9])$/);
      if (name === 'lanes' || value === null || (lane && lane[2] > shown.lanes)) continue;
      const usual = lane ? {grid: '', budget: 0}[lane[1]] : plain[name];
      if (String(value) !== String(usual)) query.set(name, value);
    }
    history.replaceState(null, '', location.pathname + '?' + query);
  },
  // A file that is too large is refused before it is sent; the server refuses it, too.
  refuse: (event) => {
    const field = event.target.closest?.('#upload');
    const place = document.querySelector('#problem-size .dd-mistake');
    const files = (event.dataTransfer ?? event.target).files ?? [];
    if (!field || !place || !files.length) return;
    place.hidden = files[0].size <= Number(place.dataset.most);
    if (place.hidden) return;
    place.textContent = place.dataset.sentence.replace('{}', (files[0].size / 1e6).toFixed(1));
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.type === 'change') event.target.value = '';
  },
  save: (data, name) => {
    if (!data) return;
    const link = document.createElement('a');
    link.href = data;
    link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
  },
};
for (const kind of ['change', 'drop']) document.addEventListener(kind, dd.refuse, true);
</script>
"""


def theme() -> Any:
    """Fonts of the machine: Gradio's own theme asks Google for them."""
    import gradio as gr

    return gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )

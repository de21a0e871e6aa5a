"""The look of the report page: one style sheet for light and dark, and the script behind its filter box."""

STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --page: #f5f6f8; --card: #ffffff;
  --line: #d9dee5; --reference: #2563eb; --right: #15a34a; --was-reference: #8b95a3; --tile: #e3e7ec;
  --model: #4f6bed; --sum: #e0a32e; --image_only: #4fa3a5; --text_only: #b76e9b; }
@media (prefers-color-scheme: dark) { :root { --text: #e6eaf0; --soft: #9aa5b4; --page: #12161c; --card: #1b2129;
  --line: #323b47; --reference: #6ea0ff; --right: #35d07a; --was-reference: #7a8594; --tile: #2b333e;
  --model: #7f95ff; --sum: #e9b95a; --image_only: #67bfc1; --text_only: #d08bb5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header { max-width: 1440px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 28px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 36px 0 8px; }
h3 { font-size: 16px; margin: 0; font-weight: 600; }
p { margin: 4px 0 10px; max-width: 95ch; }
.soft { color: var(--soft); }
a { color: var(--reference); }
nav a { margin-right: 18px; }
a:focus-visible, input:focus-visible, .strip:focus-visible, .wide:focus-visible {
  outline: 3px solid var(--reference); outline-offset: 2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 16px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child > * { border-bottom: 0; }
th:first-child { text-align: left; font-weight: 500; }
thead th { font-weight: 600; }
td.model { font-weight: 650; }
td small { color: var(--soft); font-weight: 400; margin-left: 6px; }
.side { display: flex; flex-wrap: wrap; gap: 20px 36px; align-items: flex-start; margin-bottom: 20px; }
svg { max-width: 100%; height: auto; font: 12px system-ui, "DejaVu Sans", sans-serif; }
svg text { fill: var(--text); }
svg .strong { font-weight: 600; }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--soft); }
svg .value { font-size: 10px; }
svg .whisker { stroke: var(--text); stroke-width: 1.5; }
svg .curve { fill: none; stroke: var(--model); stroke-width: 2; stroke-linejoin: round; }
svg .model { fill: var(--model); }
svg .sum { fill: var(--sum); }
svg .image_only { fill: var(--image_only); }
svg .text_only { fill: var(--text_only); }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 8px 0; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 16px; height: 16px; border-radius: 4px; vertical-align: -3px;
  margin-right: 6px; }
i.model { background: var(--model); }
i.sum { background: var(--sum); }
i.image_only { background: var(--image_only); }
i.text_only { background: var(--text_only); }
i.reference { border: 4px solid var(--reference); }
i.target { border: 4px solid var(--right); }
i.relevant { border: 4px double var(--right); }
i.was-reference { border: 4px dashed var(--was-reference); }
input[type=search] { font: inherit; padding: 6px 10px; width: min(420px, 100%); color: inherit;
  background: var(--card); border: 1px solid var(--soft); border-radius: 6px; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px 8px;
  margin: 12px 0; }
article .facts { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 2px 0 10px; color: var(--soft);
  font-size: 13px; overflow-wrap: anywhere; }
article .rank { color: var(--text); font-weight: 600; }
article[hidden] { display: none; }
.strip { display: flex; gap: 8px; overflow-x: auto; padding: 2px 2px 6px; }
figure { margin: 0; flex: 0 0 122px; width: 122px; }
figure.reference-image { margin-right: 18px; }
figure.answer { margin-left: 18px; }
figure img, figure .missing { display: block; width: 122px; height: 122px; object-fit: contain;
  background: var(--tile); border: 4px solid transparent; border-radius: 6px; }
figure .missing { display: flex; align-items: center; justify-content: center; text-align: center;
  color: var(--soft); font-size: 11px; padding: 4px; overflow: hidden; overflow-wrap: anywhere; }
figure.reference-image img, figure.reference-image .missing { border-color: var(--reference); }
figure.target img, figure.target .missing { border-color: var(--right); }
figure.relevant img, figure.relevant .missing { border: 4px double var(--right); }
figure.was-reference img, figure.was-reference .missing { border: 4px dashed var(--was-reference); }
figcaption { font-size: 12px; line-height: 1.3; margin-top: 3px; }
figcaption b { font-weight: 650; }
figcaption .id { display: block; color: var(--soft); font-size: 11px; max-height: 2.6em; overflow: hidden;
  overflow-wrap: anywhere; }
@media print { input, nav { display: none; } article { break-inside: avoid; } }
"""

# Hides the queries that do not hold every word of the filter box. Without scripts the box stays hidden, all is shown.
SCRIPT = """
const box = document.getElementById("filter");
box.closest("p").hidden = false;
const textOf = card => card.querySelector(".head").textContent.toLowerCase();
const cards = Array.from(document.querySelectorAll("article"), card => [card, textOf(card)]);
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const [card, text] of cards) { card.hidden = !words.every(word => text.includes(word));
  shown += !card.hidden; }
  document.getElementById("shown").textContent = words.length ? shown + " of " + cards.length + " shown" : "";
});
"""

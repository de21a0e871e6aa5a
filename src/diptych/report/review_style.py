"""The look of the review page beyond the reports', and the script that keeps decisions."""

STYLE = """
.pictures { display: flex; flex-wrap: wrap; gap: 20px; }
.pictures figure { flex: 1 1 320px; width: auto; max-width: 640px; }
.pictures figure img, .pictures figure .missing { width: 100%; height: 300px; }
.objects { margin: 8px 0; padding: 0; list-style: none; font-size: 14px; }
.objects b { font-weight: 600; }
.objects del, .objects .gone > b { color: #b42318; }
.objects ins, .objects .new > b { color: var(--right); text-decoration: none; font-weight: 600; }
@media (prefers-color-scheme: dark) { .objects del, .objects .gone > b { color: #ff8f80; } }
.sentences { padding: 0; list-style: none; margin: 8px 0; }
.sentences li { padding: 5px 0; border-top: 1px solid var(--line); }
.decision { display: flex; gap: 8px 12px; align-items: baseline; justify-content: space-between; flex-wrap: wrap; }
.decision h2 { margin: 0; }
.decision > :first-child { flex: 1 1 300px; }
.decision.rejected > :first-child { text-decoration: line-through; color: var(--soft); }
button { font: inherit; font-size: 14px; padding: 3px 12px; border: 1px solid var(--soft); border-radius: 6px;
  background: var(--card); color: inherit; cursor: pointer; margin-left: 4px; }
button:focus-visible { outline: 3px solid var(--reference); outline-offset: 2px; }
button[value=true][aria-pressed=true] { background: #137a3a; border-color: #137a3a; color: #fff; }
button[value=false][aria-pressed=true] { background: #b42318; border-color: #b42318; color: #fff; }
.bar { position: sticky; top: 0; z-index: 1; background: var(--page); padding: 8px 0;
  border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; }
.bar[hidden] { display: none; }
.verdict { color: var(--soft); font-size: 13px; }
"""

# Decisions are kept in the browser as they are made; the button writes all of them, those of other pages too.
SCRIPT = """
const page = document.querySelector("main");
let kept = {};
try { kept = JSON.parse(localStorage.getItem(page.dataset.key)) || {}; } catch (error) { kept = {}; }
const boxes = Array.from(document.querySelectorAll(".decision"));
const others = JSON.parse(document.getElementById("others").textContent);
const nameOf = box => JSON.stringify([box.dataset.pair, box.dataset.sentence ?? null]);
const decisionOf = box => {
  const name = nameOf(box);
  if (name in kept) return kept[name];
  return box.dataset.known === undefined ? null : box.dataset.known === "true";
};
function show() {
  let decided = 0;
  for (const box of boxes) {
    const decision = decisionOf(box);
    decided += decision !== null;
    box.classList.toggle("rejected", decision === false);
    for (const button of box.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(String(decision) === button.value));
    }
  }
  document.getElementById("decided").textContent = decided + " of " + boxes.length + " decided";
}
for (const box of boxes) {
  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const decision = button.value === "true";
      kept[nameOf(box)] = decisionOf(box) === decision ? null : decision;
      try { localStorage.setItem(page.dataset.key, JSON.stringify(kept)); } catch (error) {
        document.getElementById("warning").hidden = false;
      }
      show();
    });
  }
}
function lines() {
  const records = others.slice();
  for (const box of boxes) {
    const decision = decisionOf(box);
    const [pair, sentence] = JSON.parse(nameOf(box));
    if (decision !== null) records.push({ pair_id: pair, sentence: sentence, accepted: decision });
  }
  return records.map(record => JSON.stringify(record) + "\\n").join("");
}
document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines()], { type: "application/x-ndjson" }));
  link.download = "reviews.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
document.querySelector(".bar").hidden = false;
show();
"""

// Decisions are kept in the browser as they are made; the button writes all of them, those of other pages too.
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
function decide(box, decision) {
  kept[nameOf(box)] = decision;
  try { localStorage.setItem(page.dataset.key, JSON.stringify(kept)); } catch (error) {
    document.getElementById("warning").hidden = false;
  }
  show();
}
for (const box of boxes) {
  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const decision = button.value === "true";
      decide(box, decisionOf(box) === decision ? null : decision);
    });
  }
}
// Pairs and sentences by keys: the one that has the focus, or whose button has it, is decided.
function goTo(place) {
  const box = boxes[Math.max(0, Math.min(place, boxes.length - 1))];
  box.focus({ preventScroll: true });
  const shown = box.matches("article > :first-child") ? box.closest("article") : box;
  shown.scrollIntoView({ block: shown === box ? "nearest" : "start" });
}
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const place = boxes.indexOf(document.activeElement.closest(".decision"));
  if (event.key === "n") goTo(place + 1);
  else if (event.key === "p") goTo(place < 0 ? 0 : place - 1);
  else if ((event.key === "a" || event.key === "r") && place >= 0) {
    decide(boxes[place], event.key === "a");
    goTo(place + 1);
  } else return;
  event.preventDefault();
});
function lines() {
  const records = others.slice();
  for (const box of boxes) {
    const decision = decisionOf(box);
    const [pair, sentence] = JSON.parse(nameOf(box));
    if (decision !== null) records.push({ pair_id: pair, sentence: sentence, accepted: decision });
  }
  return records.map(record => JSON.stringify(record) + "\n").join("");
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

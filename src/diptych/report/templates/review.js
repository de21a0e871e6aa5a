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

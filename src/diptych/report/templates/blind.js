// Marks are kept in the browser as they are made, for each name by itself; the button writes those of the name.
const page = document.querySelector("main").dataset.page;
const annotator = document.getElementById("annotator");
const items = Array.from(document.querySelectorAll("[data-item]"));
let marks = {};
const placeOf = name => "diptych-blind-" + page + "/" + name;
const nameNow = () => annotator.value.trim();
function keep(place, text) {
  try { localStorage.setItem(place, text); } catch (error) { document.getElementById("warning").hidden = false; }
}
function load() {
  marks = {};
  try { marks = JSON.parse(localStorage.getItem(placeOf("marks/" + nameNow()))) || {}; } catch (error) { marks = {}; }
  if (nameNow()) keep(placeOf("name"), nameNow());
  show();
}
function show() {
  const open = nameNow() !== "";
  for (const item of items) {
    for (const button of item.querySelectorAll("button")) {
      button.disabled = !open;
      button.setAttribute("aria-pressed", String(open && marks[item.dataset.item] === button.value));
    }
  }
  document.getElementById("save").disabled = !open;
  const number = items.filter(item => item.dataset.item in marks).length;
  document.getElementById("marked").textContent = open ? number + " of " + items.length + " marked"
    : "Enter your name to begin.";
}
for (const item of items) {
  for (const button of item.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const name = item.dataset.item;
      if (marks[name] === button.value) delete marks[name]; else marks[name] = button.value;
      keep(placeOf("marks/" + nameNow()), JSON.stringify(marks));
      show();
    });
  }
}
function content() {
  const made = {};
  for (const item of items) if (item.dataset.item in marks) made[item.dataset.item] = marks[item.dataset.item];
  return JSON.stringify({ page: page, annotator: nameNow(), marks: made }, null, 1) + "\n";
}
document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content()], { type: "application/json" }));
  link.download = "blind_" + nameNow().replace(/[^\p{L}\p{N}]+/gu, "_") + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
try { annotator.value = localStorage.getItem(placeOf("name")) || ""; } catch (error) { annotator.value = ""; }
annotator.addEventListener("input", load);
document.querySelector(".bar").hidden = false;
load();

// Hides the queries that do not hold every word of the filter box. Without scripts the box stays hidden, all is shown.
const box = document.getElementById("filter");
box.closest("p").hidden = false;
const textOf = card => card.querySelector(".head").textContent.toLowerCase();
const cards = Array.from(document.querySelectorAll("article"), card => [card, textOf(card)]);
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [card, text] of cards) { card.hidden = !words.every(word => text.includes(word));
  shown += !card.hidden; }
  document.getElementById("shown").textContent = words.length ? shown + " of " + cards.length + " shown" : "";
});

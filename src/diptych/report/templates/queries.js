// All queries of the page's table by filter and order, some at a time. Without scripts the cards that the page came with
// stay as they are; with them they are shown again where their turn is, and give their pictures to the others.
const { folder, images, pictures, aspects, queries } = JSON.parse(document.getElementById("table").textContent);
const [FIRST, MORE] = [8, 24];
const answered = queries.some(query => query[6] !== null);
const box = name => document.getElementById(name);
const cards = new Map();
for (const card of document.querySelectorAll("article[data-query]")) {
  const number = Number(card.dataset.query);
  const [, , , , , reference, target, , results] = queries[number];
  const named = [reference, ...(target === null ? [] : [target]), ...results];
  card.querySelectorAll("figure").forEach((figure, place) => {
    const picture = figure.querySelector("img");
    if (picture) pictures[named[place]] = picture.src;
  });
  cards.set(number, card);
}
function element(tag, css, text) {
  const made = document.createElement(tag);
  if (css) made.className = css;
  made.append(text);
  return made;
}
function pictureOf(image, described) {
  const [id, link] = images[image];
  const grey = () => {
    const tile = element("div", "missing", link === null ? id : decodeURIComponent(link.split("/").pop()));
    tile.setAttribute("role", "img");
    tile.setAttribute("aria-label", "no picture, " + described + ": " + id);
    return tile;
  };
  const address = pictures[image] ?? (link === null ? null : folder + link);
  if (address === null) return grey();
  const picture = document.createElement("img");
  picture.loading = "lazy";
  picture.decoding = "async";
  picture.width = picture.height = 122;
  picture.alt = described + ": " + id;
  picture.addEventListener("error", () => picture.replaceWith(grey()));
  picture.src = address;
  return picture;
}
function figureOf(image, css, words, score, described) {
  const id = element("span", "id", images[image][0]);
  id.title = images[image][0];
  const caption = element("figcaption", "", element("b", "", words));
  caption.append(" " + score + " ", id);
  const figure = element("figure", css, pictureOf(image, described));
  figure.append(caption);
  return figure;
}
const rankOf = rank => rank === null ? "not in the list" : "rank " + rank.toLocaleString("en");
function resultOf(image, place, score, reference, target, accepted) {
  const role = target === null ? "" : image === target ? "target" : accepted.includes(image) ? "relevant"
    : image === reference ? "reference" : "";
  const meaning = { target: ", target image", relevant: ", accepted", reference: ", reference image" }[role] ?? "";
  const frame = role === "reference" ? "was-reference" : role;
  return figureOf(image, ("result " + frame).trim(), (place + " " + role).trim(),
    score === null ? "" : score.toFixed(3), "result " + place + meaning);
}
function built(number) {
  const [id, text, rank, groupRank, kinds, reference, target, accepted, results, scores] = queries[number];
  const said = target === null ? "answer hidden" : "target " + (rank === null ? "" : "at ") + rankOf(rank);
  const facts = element("div", "facts", element("span", "rank", said));
  facts.append(element("span", "", "query " + id));
  if (groupRank !== null) facts.append(element("span", "", "rank " + groupRank + " in its group"));
  for (const kind of kinds) facts.append(element("span", "", aspects[kind]));
  const head = element("div", "head", element("h3", "", text.trim() || "(no text)"));
  head.append(facts);
  const pair = element("div", "pair", figureOf(reference, "reference-image", "reference", "", "reference image"));
  if (target !== null) {
    const where = rankOf(rank);
    pair.append(figureOf(target, "target answer", "target, " + where, "", "target image, " + where));
  }
  const strip = element("div", "strip", pair);
  strip.tabIndex = 0;
  strip.setAttribute("role", "group");
  strip.setAttribute("aria-label", "Pictures of query " + id);
  results.forEach((image, place) =>
    strip.append(resultOf(image, place + 1, scores[place], reference, target, accepted)));
  const card = element("article", "", head);
  card.append(strip);
  return card;
}
const badness = number => queries[number][6] === null ? 0 : queries[number][2] ?? Infinity;
const inFile = Array.from(queries.keys());
function drawn() {  // the same draw whenever the page is opened
  let state = 1;
  const next = () => (state = state * 48271 % 2147483647) / 2147483647;
  return inFile.map(number => [next(), number]).sort((one, other) => one[0] - other[0]).map(pair => pair[1]);
}
const orders = {
  worst: () => inFile.slice().sort((one, other) => badness(other) - badness(one) || one - other),
  best: () => inFile.slice().sort((one, other) => badness(one) - badness(other) || one - other),
  file: () => inFile,
  random: drawn,
};
const words = [];
function wordsOf(number) {
  const [id, text, , , kinds, reference, target] = queries[number];
  const ids = [reference, target].map(image => image === null ? "" : images[image][0]);
  return words[number] ??= [id, text, ...kinds.map(kind => aspects[kind]), ...ids].join(" ").toLowerCase();
}
let found = [], shown = 0;
function search() {
  const asked = box("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const from = Number(box("from").value) || 0, to = Number(box("to").value) || Infinity;
  const kind = box("kind").value, group = Number(box("group").value);
  found = orders[box("order").value]().filter(number => {
    const [, , rank, groupRank, kinds] = queries[number];
    return (!answered || (rank ?? Infinity) >= from && (rank ?? Infinity) <= to)
      && (kind === "" || kinds.includes(Number(kind)))
      && (!group || (group > 3 ? groupRank > 3 : groupRank === group))
      && asked.every(word => wordsOf(number).includes(word));
  });
  shown = 0;
  box("list").replaceChildren();
  show(FIRST);
}
function show(count) {
  const next = found.slice(shown, shown + count);
  box("list").append(...next.map(number => cards.get(number) ?? built(number)));
  shown += next.length;
  const left = found.length - shown;
  const number = value => value.toLocaleString("en");
  box("shown").textContent = number(found.length) + " of " + number(queries.length) + " queries";
  box("more").hidden = left === 0;
  box("more").textContent = "Show " + Math.min(MORE, left) + " more of " + number(left);
}
aspects.forEach((name, place) => box("kind").add(new Option(name, place)));
box("kind").parentElement.hidden = aspects.length < 2;
box("group").parentElement.hidden = queries.every(query => query[3] === null);
box("ranks").hidden = !answered;
box("linked").hidden = images.every(([, link], image) => link === null || image in pictures);
if (!answered) {
  box("order").value = "file";
  for (const name of ["worst", "best"]) box("order").querySelector("[value=" + name + "]").remove();
}
box("controls").addEventListener("input", search);
box("controls").addEventListener("submit", event => event.preventDefault());
box("more").addEventListener("click", () => show(MORE));
box("controls").hidden = false;
box("chosen").hidden = true;
search();

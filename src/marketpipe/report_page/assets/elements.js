// Elements of the page. Text is set as text, never as HTML: names and reasons come from outside.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const NUMBER = new Intl.NumberFormat("en-US");
const number = (value) => (typeof value === "number" ? NUMBER.format(value) : String(value ?? ""));
const percent = (value, digits = 2) => (Number.isFinite(value) ? `${(100 * value).toFixed(digits)} %` : "");
const countOf = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const clock = (minute) => {
  const all = minute + 240, two = (part) => String(part).padStart(2, "0");
  return `${two(Math.floor(all / 60))}:${two(all % 60)}`;
};
const momentOf = (text) => (text ? text.replace("T", " ").replace(/(\.\d+)?(Z|\+00:00)$/, "") : "");

// The sign and the rank of each verdict: of several sessions in one place the lowest rank is shown.
const SIGNS = { missing: "×", suspect: "?", short: "s", partial: "▒", pending: "○", empty: "·", unlisted: "–", complete: "" };
const RANKS = Object.fromEntries(Object.keys(SIGNS).map((name, rank) => [name, rank]));

function chip(verdict) {
  return element("span", { class: `chip v-${verdict}`, "aria-hidden": "true" });
}

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function linkToDay(symbol, date, text) {
  return element("a", { href: `#day/${encodeURIComponent(symbol)}/${date}` }, text ?? `${symbol} ${date}`);
}

// What a verdict rests on, with what that means.
function evidenceOf(facts, value) {
  const text = facts.evidence[value], meanings = text.split("+").map((name) => `${name}: ${facts.evidence_meanings[name]}`);
  return element("abbr", { title: meanings.join("; ") }, text);
}

function note(text) {
  return element("p", { class: "note" }, text);
}

// A labelled field: a select of [value, text] pairs, or an input.
function select(label, options, chosen, onchange) {
  const field = element("select", { onchange: () => onchange(field.value) },
    options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
  return element("label", {}, label, " ", field);
}

function searchField(label, oninput, attributes = {}) {
  const field = element("input", { type: "search", autocomplete: "off", spellcheck: "false", ...attributes });
  let waiting = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => oninput(field.value.trim()), 120);
  });
  return element("label", {}, label, " ", field);
}

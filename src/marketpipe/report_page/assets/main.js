// The page as a whole: which view is open, dark or light, and newer facts if the page is served live.

const REFRESH_MS = 2000;
const page = { facts: null, filled: new Set(), states: {}, day: null, theme: "" };

function contentOf(name) {
  return name === "overview" ? document.getElementById("overview-more") : document.querySelector(`#${name} .content`);
}

async function openView() {
  const [name, symbol, date] = location.hash.slice(1).split("/").map(decoded);
  const view = document.getElementById(name)?.matches("main > section") ? name : "overview";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    const isOpen = link.getAttribute("href") === `#${view}`, nav = link.parentElement;
    isOpen ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    if (isOpen) nav.scrollLeft = link.offsetLeft - nav.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
  }
  if (view === "day") {
    page.day ??= new DayView(page.facts, contentOf("day"));
    await page.day.show(symbol, date);
  } else if (!page.filled.has(view)) {
    page.filled.add(view);
    await VIEWS[view](page.facts, contentOf(view), page.states[view] ??= {});
  } else {
    redraw();
  }
  if (view === "gaps" && symbol && page.narrowed !== location.hash) {
    page.narrowed = location.hash; // once: what is typed afterwards stays
    contentOf(view).narrow(symbol);
  }
  document.documentElement.dataset.ready = view;
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function redraw() {
  redrawCharts();
  for (const canvas of document.querySelectorAll("canvas.strip")) canvas.redraw?.();
  contentOf("completeness").heatMap?.soon();
}

function toggleTheme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark;
  root.dataset.theme = isDark ? "light" : "dark";
  redraw();
}

// Paper is light, whatever the screen is.
function print(isPrinted) {
  const root = document.documentElement;
  if (isPrinted) page.theme = root.dataset.theme ?? "";
  root.dataset.theme = isPrinted ? "light" : page.theme;
  contentOf("completeness").heatMap?.print(isPrinted);
  redraw();
}

function take(payload) {
  page.facts = new Facts(payload);
  page.filled.clear();
  page.day = null;
}

// Shows newer facts, or the newer moment of the same ones.
async function renew(payload) {
  if (payload.tag === page.facts.tag) {
    page.facts.made_at = payload.made_at;
    return;
  }
  const { scrollX, scrollY } = window;
  take(payload);
  renderOverview();
  await openView();
  window.scrollTo(scrollX, scrollY);
}

// Asks the server for newer facts, except while something is typed or chosen.
function keepCurrent() {
  const pause = document.getElementById("pause"), made = document.getElementById("made");
  let paused = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Continue" : "Pause";
  });
  const again = async () => {
    if (!paused && !document.activeElement?.matches("main :is(input, select)")) {
      try {
        const answer = await fetch("facts", { cache: "no-store", headers: { "If-None-Match": page.facts.tag ?? "" } });
        if (answer.ok) {
          await renew(await answer.json());
          made.textContent = `live · as of ${momentOf(page.facts.made_at)} UTC`;
        } else {
          made.textContent = `${(await answer.text()).trim()} · as of ${momentOf(page.facts.made_at)} UTC`;
        }
      } catch {
        made.textContent = `the server has ended · as of ${momentOf(page.facts.made_at)} UTC`;
      }
    }
    setTimeout(again, REFRESH_MS);
  };
  setTimeout(again, REFRESH_MS);
}

// The numbers at the top, which the server has written for the first facts.
function renderOverview() {
  const { facts } = page, title = document.getElementById("overview-title");
  title.textContent = facts.complete ? "Complete: nothing is missing or suspect" : "Not complete";
  title.className = facts.complete ? "good" : "bad";
  for (const card of document.querySelectorAll("#overview .cards li")) {
    const { total } = card.dataset, count = facts.totals[total];
    card.querySelector("b").textContent = number(count);
    card.classList.toggle("bad", count > 0 && (total === "problems" || total === "lost"));
    card.hidden = total === "lost" && !count;
  }
  const rows = Object.entries(facts.counts).map(([name, count]) => element("tr", {},
    element("th", { scope: "row" }, chip(name), name), element("td", { class: "number" }, number(count)),
    element("td", { class: "number" }, percent(count / (facts.totals.symbol_days || 1))), element("td", {}, facts.meanings[name])));
  document.querySelector("#overview .verdicts tbody").replaceChildren(...rows);
}

function begin() {
  take(JSON.parse(document.getElementById("facts").textContent));
  document.getElementById("theme").addEventListener("click", toggleTheme);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names the view
    document.getElementById("main").focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("hashchange", async () => {
    await openView();
    window.scrollTo(0, 0); // the browser has scrolled to the section, past the links above it
  });
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  if (page.facts.live) keepCurrent();
  openView();
}

// The chart library and the bars come after this script: they are not waited for.
document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", begin) : begin();

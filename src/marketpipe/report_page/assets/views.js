// The views: each function fills the content of its section. They are called when a view is first opened, and again
// with newer facts; ``state`` is what the reader has chosen there, and stays.

const SHOWN = 0.00005; // a smaller difference is shown as 0.00 %

const VIEWS = {
  async overview(facts, content) {
    const verdicts = await facts.column("verdicts");
    content.replaceChildren(
      element("h3", {}, "Verdicts by session"),
      verdictsBySession(facts, verdicts),
      element("h3", {}, "Symbols with the most problems"),
      worstSymbols(facts, verdicts),
      element("h3", {}, "Latest jobs"),
      jobsTable(facts));
    if (facts.lost.length) content.append(element("h3", {}, "Lost files"), note("Recorded files, other than day files, that do not exist:"),
      element("ul", {}, facts.lost.map((path) => element("li", {}, path))));
  },

  async completeness(facts, content, state) {
    const verdicts = await facts.column("verdicts"), counts = countsBySymbol(facts, verdicts);
    const map = new HeatMap(facts, verdicts, (symbol, session) => {
      location.hash = `#day/${encodeURIComponent(facts.symbols[symbol])}/${facts.dates[session]}`;
    });
    if (!state.map) Object.assign(state, { text: "", only: "all", order: "worst", zoom: "0" });
    const update = () => {
      const wanted = state.text.toUpperCase(), of = facts.verdicts.indexOf(state.only);
      const shown = facts.symbols.map((_, symbol) => symbol).filter((symbol) =>
        facts.symbols[symbol].toUpperCase().includes(wanted) && (of < 0 || counts[symbol][of]));
      if (state.order === "worst") shown.sort((a, b) => badness(facts, counts[b]) - badness(facts, counts[a]) || a - b);
      map.show(shown, Number(state.zoom));
      found.textContent = countOf(shown.length, "symbol");
    };
    const change = (name) => (value) => { state[name] = value; update(); };
    const found = element("span", { class: "quiet", role: "status" });
    content.replaceChildren(
      element("div", { class: "controls" },
        searchField("Symbols", change("text"), { value: state.text }),
        select("With", [["all", "any verdict"], ...Object.keys(facts.counts).map((name) => [name, name])], state.only, change("only")),
        select("Order", [["worst", "worst first"], ["name", "by name"]], state.order, change("order")),
        select("Width", [["0", "all sessions"], ["4", "narrow"], ["8", "medium"], ["14", "wide, with signs"]], state.zoom, change("zoom")), found),
      legend(facts), map.box, map.status);
    content.heatMap = map;
    update();
    if (state.map) map.goOnFrom(state.map);
    state.map = map;
  },

  gaps(facts, content, state) {
    const { gaps } = facts, rows = gaps.symbol.map((_, at) => at);
    const dateOf = (at, name) => gaps[name][at] < 0 ? gaps.strays[at] : facts.dates[gaps[name][at]];
    const reason = (at) => gaps.reasons[gaps.reason[at]];
    const verdict = (at) => facts.verdicts[gaps.verdict[at]];
    const table = dataTable("Gaps", [
      { title: "Symbol", value: (at) => facts.symbols[gaps.symbol[at]], show: (at) => linkToDay(facts.symbols[gaps.symbol[at]], dateOf(at, "first"), facts.symbols[gaps.symbol[at]]) },
      { title: "First", value: (at) => dateOf(at, "first") },
      { title: "Last", value: (at) => dateOf(at, "last") },
      { title: "Sessions", value: (at) => gaps.sessions[at], number: true },
      { title: "Verdict", value: verdict, show: (at) => [chip(verdict(at)), ` ${verdict(at)}`] },
      { title: "Suspicion", value: (at) => reason(at)[0] },
      { title: "Reason", value: (at) => reason(at)[1], wide: true },
      { title: "Evidence", value: (at) => facts.evidence[gaps.evidence[at]], show: (at) => evidenceOf(facts, gaps.evidence[at]) },
    ], [], "no gap");
    state.text ??= ""; state.only ??= "problems";
    const update = () => {
      const words = state.text.toUpperCase().split(/\s+/).filter(Boolean);
      table.replace(rows.filter((at) => {
        const is = verdict(at);
        if (state.only === "problems" ? is === "complete" : state.only !== "all" && is !== state.only) return false;
        const text = words.length && `${facts.symbols[gaps.symbol[at]]} ${dateOf(at, "first")} ${reason(at).join(" ")}`.toUpperCase();
        return words.every((word) => text.includes(word));
      }));
    };
    const kinds = [...new Set(rows.map(verdict))], search = searchField("Symbol, date or reason", (text) => { state.text = text; update(); }, { value: state.text });
    content.narrow = (text) => { search.querySelector("input").value = state.text = text; update(); };
    content.replaceChildren(
      element("div", { class: "controls" },
        search,
        select("Show", [["problems", "gaps"], ["all", "gaps, and notes on complete days"], ...kinds.map((name) => [name, name])], state.only, (only) => { state.only = only; update(); })),
      gaps.all > rows.length ? note(`The first ${number(rows.length)} of ${number(gaps.all)} gaps. ‘marketpipe coverage --json’ has all of them.`) : "",
      table,
      note(`Evidence is what a verdict rests on: ${Object.entries(facts.evidence_meanings).map(([name, meaning]) => `${name}, ${meaning}`).join("; ")}.`));
    update();
  },

  quality(facts, content) {
    const { rejected, broken } = facts, rules = [...rejected.rules, ...broken.rules];
    const examples = [...rejected.examples, ...broken.examples];
    const parts = (found, text) => found.read < found.all ? note(`${text}: ${number(found.read)} of ${number(found.all)} symbol-days were read.`) : "";
    const names = ["open", "high", "low", "close", "volume", "trades", "vwap"];
    content.replaceChildren(
      note("A bar that breaks a rule of severity error is rejected: it is in quarantine, not in the store. A warning rejects nothing."),
      parts(rejected, "Rejected bars"), parts(broken, "Stored bars (‘marketpipe validate’ checks all of them)"),
      dataTable("Rules that bars broke", [
        { title: "Rule", value: (rule) => rule.rule }, { title: "Severity", value: (rule) => rule.severity },
        { title: "Bars are", value: (rule) => rule.kind }, { title: "Bars", value: (rule) => rule.bars, number: true },
        { title: "Symbol-days", value: (rule) => rule.symbol_days, number: true },
      ], rules, "no bar broke a rule"),
      element("h3", {}, "Examples with their raw values"),
      dataTable("Examples", [
        { title: "Rule", value: (one) => one.rule },
        { title: "Symbol-day", value: (one) => `${one.symbol} ${one.date ?? ""}`, show: (one) => one.date ? linkToDay(one.symbol, one.date) : one.symbol },
        { title: "Time (UTC)", value: (one) => one.time, show: (one) => momentOf(one.time) },
        ...names.map((title, at) => ({ title, value: (one) => one.values[at], number: true, show: (one) => one.values[at] === null ? "–" : String(one.values[at]) })),
        { title: "Reason", value: (one) => one.reason, wide: true },
        { title: "Raw", value: (one) => one.raw, show: (one) => one.raw ? element("code", {}, one.raw) : "", wide: true },
      ], examples),
      ...[...rejected.unreadable, ...broken.unreadable].map((text) => note(`Cannot be read: ${text}`)));
  },

  restatements(facts, content) {
    const { restated } = facts;
    content.replaceChildren(
      note("A day whose bars the provider changed keeps its former versions. Each is compared here with the version that followed it; ‘marketpipe audit’ finds what the provider has changed since."),
      restated.found > restated.days.length ? note(`The newest ${number(restated.days.length)} of ${number(restated.found)} former versions.`) : "",
      dataTable("Former versions", [
        { title: "Symbol-day", value: (day) => `${day.symbol} ${day.date}`, show: (day) => linkToDay(day.symbol, day.date) },
        { title: "Kind", value: (day) => day.kind, show: (day) => day.error ? `${day.kind}: ${day.error}` : day.kind },
        { title: "Known since", value: (day) => day.since, show: (day) => momentOf(day.since) },
        { title: "Replaced", value: (day) => day.until, show: (day) => momentOf(day.until) },
        ...["changed", "added", "removed", "unchanged"].map((title) => ({ title, value: (day) => day[title], number: true })),
        { title: "Largest move", value: (day) => day.move, number: true, show: (day) => day.move ? percent(day.move) : "" },
        { title: "New over old price", value: (day) => day.ratio, number: true, show: (day) => day.ratio ? day.ratio.toFixed(5) : "" },
      ], restated.days, "no day was ever restated"));
  },

  async official(facts, content) {
    const [volume, official, difference] = await Promise.all(["volume", "official_volume", "difference"].map((name) => facts.column(name)));
    if (!official) return content.replaceChildren(note("This store has no official days: the provider has none, or none were requested."));
    const compared = [];
    for (let cell = 0; cell < official.length; cell++)
      if (official[cell] > 0 && volume && volume[cell] >= 0) compared.push(cell);
    const ratio = (cell) => volume[cell] / official[cell], day = (cell) => [facts.symbols[Math.floor(cell / facts.sessions)], facts.dates[cell % facts.sessions]];
    const without = official.reduce((count, value, cell) => count + (!(value >= 0) && volume && volume[cell] >= 0), 0);
    const odd = compared.map((cell) => [cell, Math.max(Math.abs(ratio(cell) - 1), difference && difference[cell] >= 0 ? difference[cell] * 10 : 0)])
      .filter(([, oddness]) => oddness >= SHOWN).sort((a, b) => b[1] - a[1]).slice(0, 1000).map(([cell]) => cell);
    const place = element("div", { class: "medium" });
    content.replaceChildren(
      note(`The exchange’s daily bar is compared with the sum of the minutes: ${countOf(compared.length, "symbol-day")}; ${number(without)} with minutes have no official day. Minutes leave out some trades that the official volume counts, so a ratio slightly below 100 % is usual; a day that falls out of its symbol’s own range is suspect.`),
      element("h3", {}, "Volume of the minutes as a part of the official volume"), place,
      element("h3", {}, "Symbol-days that differ most"),
      dataTable("Symbol-days", [
        { title: "Symbol-day", value: (cell) => day(cell).join(" "), show: (cell) => linkToDay(...day(cell)) },
        { title: "Official volume", value: (cell) => Math.round(official[cell]), number: true },
        { title: "Volume of the minutes", value: (cell) => Math.round(volume[cell]), number: true },
        { title: "Ratio", value: ratio, number: true, show: (cell) => percent(ratio(cell)) },
        { title: "Largest difference of a price", value: (cell) => difference ? difference[cell] : NaN, number: true, show: (cell) => difference ? percent(difference[cell]) : "" },
      ], odd, compared.length ? "every one agrees with its minutes" : "nothing could be compared"));
    if (compared.length) bandChart(place, facts, compared, ratio);
  },

  async volumes(facts, content, state) {
    const [volume, official] = await Promise.all(["volume", "official_volume"].map((name) => facts.column(name)));
    if (!volume && !official) return content.replaceChildren(note("No volumes are recorded for these symbol-days."));
    const place = element("div", { class: "medium" }), text = element("p", { class: "note", role: "status" });
    const show = (name) => {
      state.symbol = name;
      const symbol = facts.symbolNumbers.get(name.toUpperCase());
      if (name && symbol === undefined) { text.textContent = `This page has no symbol ${name}.`; return; }
      const of = (column) => column && facts.dates.map((_, session) => sumOf(facts, column, session, symbol));
      const [traded, stated] = [of(volume), of(official)];
      text.textContent = `Shares a session, ${symbol === undefined ? "all symbols together" : name.toUpperCase()}`;
      chart(place, `Bar chart of ${text.textContent}`, () => [
        ...(traded ? [{ type: "bar", x: facts.dates, y: traded, name: "minutes", marker: { color: colourOf("volume") } }] : []),
        ...(stated ? [{ type: "scatter", mode: "lines", x: facts.dates, y: stated, name: "official", line: { color: colourOf("accent"), width: 1 } }] : []),
      ], () => ({ showlegend: true, legend: { orientation: "h", y: -0.18 }, yaxis: { title: { text: "shares" } } }));
    };
    content.replaceChildren(
      element("div", { class: "controls" }, searchField("Symbol (empty: all)", show, { list: "symbol-names", value: state.symbol ?? "" })),
      text, place, element("h3", {}, "By symbol"), volumeTable(facts, volume, official));
    show(state.symbol ?? "");
  },

  aggregates(facts, content) {
    const rows = facts.aggregates, names = rows.flatMap((one) => one.names.map(([name, condition]) => ({ timeframe: one.timeframe, name, condition })));
    const problems = rows.some((one) => one.stale + one.absent);
    content.replaceChildren(
      note(rows.length
        ? problems ? "‘marketpipe aggregate’ brings these files up to date with their minutes (read copies that are not configured: with ‘--timeframes 1m’). Until then, queries and loads make bars of an absent file from the minutes, and read day files in the place of a read copy." : "All aggregates agree with their minutes."
        : "No timeframe is configured, and none was ever aggregated. Queries and loads make their bars from the minutes."),
      dataTable("Timeframes", [
        { title: "Timeframe", value: (one) => one.timeframe },
        ...["fresh", "stale", "absent"].map((title) => ({ title, value: (one) => one[title], number: true })),
        { title: "Fresh", value: (one) => one.fresh / (one.fresh + one.stale + one.absent), number: true, show: (one) => percent(one.fresh / (one.fresh + one.stale + one.absent)) },
      ], rows),
      names.length ? dataTable("Files that are not fresh (the first of each timeframe)", [
        { title: "Timeframe", value: (one) => one.timeframe }, { title: "Symbol and period", value: (one) => one.name },
        { title: "Condition", value: (one) => one.condition },
      ], names) : "");
  },
};

function countsBySymbol(facts, verdicts) {
  return facts.symbols.map((_, symbol) => {
    const counts = new Uint32Array(facts.verdicts.length);
    for (let cell = facts.cell(symbol, 0), end = cell + facts.sessions; cell < end; cell++) counts[verdicts[cell]]++;
    return counts;
  });
}

// Missing and suspect sessions first, then those that are short or partial.
function badness(facts, counts) {
  const of = (name) => counts[facts.verdicts.indexOf(name)];
  return 10000 * (of("missing") + of("suspect")) + of("short") + of("partial");
}

function legend(facts) {
  return element("ul", { class: "legend", "aria-label": "Colours and signs of the verdicts" }, Object.keys(facts.counts).map((name) =>
    element("li", {}, chip(name), ` ${SIGNS[name]} ${name}`)));
}

function worstSymbols(facts, verdicts) {
  const counts = countsBySymbol(facts, verdicts), seen = Object.keys(facts.counts);
  const rows = facts.symbols.map((_, symbol) => symbol).filter((symbol) => badness(facts, counts[symbol]))
    .sort((a, b) => badness(facts, counts[b]) - badness(facts, counts[a])).slice(0, 20);
  return dataTable("Symbols", [
    { title: "Symbol", value: (symbol) => facts.symbols[symbol], show: (symbol) => element("a", { href: `#gaps/${encodeURIComponent(facts.symbols[symbol])}` }, facts.symbols[symbol]) },
    ...seen.map((title) => ({ title, value: (symbol) => counts[symbol][facts.verdicts.indexOf(title)], number: true })),
  ], rows, "no symbol has a problem");
}

function jobsTable(facts) {
  return dataTable("Jobs", [
    { title: "Job", value: (job) => job.job_id, number: true }, { title: "State", value: (job) => job.state },
    { title: "Started", value: (job) => job.started_at, show: (job) => momentOf(job.started_at) },
    { title: "Finished", value: (job) => job.finished_at, show: (job) => momentOf(job.finished_at) || "running" },
    { title: "Symbols", value: (job) => job.symbols, number: true },
    { title: "Dates", value: (job) => job.first, show: (job) => `${job.first} to ${job.last}` },
    ...["planned", "done", "failed"].map((title) => ({ title, value: (job) => job[title], number: true })),
  ], facts.jobs, "no job ran yet");
}

// A strip of all sessions: how many symbols have each verdict, the worst at the bottom.
function verdictsBySession(facts, verdicts) {
  const names = Object.keys(SIGNS).filter((name) => facts.counts[name]), order = names.map((name) => facts.verdicts.indexOf(name));
  const counts = order.map(() => new Uint32Array(facts.sessions)), place = new Map(order.map((verdict, at) => [verdict, at]));
  for (let cell = 0; cell < verdicts.length; cell++) counts[place.get(verdicts[cell])][cell % facts.sessions]++;
  const canvas = element("canvas", { class: "strip", role: "img", "aria-label": `Share of verdicts in each of ${number(facts.sessions)} sessions; the tables have the numbers` });
  const draw = () => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), step = canvas.width / facts.sessions;
    for (let session = 0; session < facts.sessions; session++) {
      let y = canvas.height;
      names.forEach((name, at) => {
        const share = counts[at][session] / Math.max(1, facts.symbols.length);
        if (!share) return;
        const tall = name === "complete" ? y : Math.max(2 * ratio, share * canvas.height);
        pen.fillStyle = colourOf(`v-${name}`);
        pen.fillRect(Math.floor(session * step), y - tall, Math.ceil(step), tall);
        y -= tall;
      });
    }
  };
  canvas.redraw = draw;
  new ResizeObserver(draw).observe(canvas);
  return element("figure", {}, canvas, element("figcaption", { class: "ends" }, element("span", {}, facts.dates[0] ?? ""), element("span", {}, facts.dates.at(-1) ?? "")), legend(facts));
}

function sumOf(facts, column, session, symbol) {
  if (symbol !== undefined) return Number.isNaN(column[facts.cell(symbol, session)]) ? null : column[facts.cell(symbol, session)];
  let sum = 0;
  for (let cell = session; cell < column.length; cell += facts.sessions) if (column[cell] >= 0) sum += column[cell];
  return sum;
}

function volumeTable(facts, volume, official) {
  const rows = facts.symbols.map((name, symbol) => {
    const row = { name, sessions: 0, sum: 0, most: 0, at: -1 };
    for (let session = 0; session < facts.sessions; session++) {
      const cell = facts.cell(symbol, session), value = volume && volume[cell] >= 0 ? volume[cell] : official ? official[cell] : NaN;
      if (!(value >= 0)) continue;
      row.sessions++; row.sum += value;
      if (value > row.most) [row.most, row.at] = [value, session];
    }
    return row;
  });
  return dataTable("Symbols", [
    { title: "Symbol", value: (row) => row.name }, { title: "Sessions", value: (row) => row.sessions, number: true },
    { title: "Mean shares a session", value: (row) => row.sessions ? Math.round(row.sum / row.sessions) : null, number: true },
    { title: "Most shares", value: (row) => Math.round(row.most), number: true },
    { title: "On", value: (row) => facts.dates[row.at] ?? "", show: (row) => row.at < 0 ? "" : linkToDay(row.name, facts.dates[row.at], facts.dates[row.at]) },
  ], rows);
}

// The median of the ratios of each session, and the band that nine of ten symbols are in.
function bandChart(place, facts, compared, ratio) {
  const bySession = facts.dates.map(() => []);
  for (const cell of compared) bySession[cell % facts.sessions].push(ratio(cell));
  const at = (share) => bySession.map((some) => some.length ? some.sort((a, b) => a - b)[Math.min(some.length - 1, Math.floor(share * some.length))] : null);
  const [low, middle, high] = [at(0.05), at(0.5), at(0.95)], known = (some) => some.filter((value) => value !== null);
  const range = [Math.min(...known(low)) - 0.01, Math.max(...known(high)) + 0.01];
  chart(place, "Line chart of the ratio of volumes by session: its median, and the range of nine symbols of ten", () => [
    { type: "scatter", mode: "lines", x: facts.dates, y: high, line: { width: 0 }, name: "95 of 100 are below", hoverinfo: "skip" },
    { type: "scatter", mode: "lines", x: facts.dates, y: low, fill: "tonexty", fillcolor: colourOf("band"), line: { width: 0 }, name: "5 of 100 are below" },
    { type: "scatter", mode: "lines", x: facts.dates, y: middle, line: { color: colourOf("accent"), width: 1.5 }, name: "median" },
  ], () => ({ yaxis: { tickformat: ".1%", range, title: { text: "minutes / official" } } }));
}

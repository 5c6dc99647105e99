// The view of one symbol-day: candles with volume, minutes without a bar, the verdict, and the official day.

const SHORTEST_GAP = 5;

// Runs of minutes of the regular session without a bar, each as its first minute and the minute after its last.
function silencesOf(day, opens, length) {
  const traded = new Set(day ? day.minutes : []), found = [];
  for (let minute = opens, start = -1; minute <= opens + length; minute++) {
    const silent = minute < opens + length && !traded.has(minute);
    if (silent && start < 0) start = minute;
    if (!silent && start >= 0) {
      if (minute - start >= SHORTEST_GAP) found.push([start, minute]);
      start = -1;
    }
  }
  return found;
}

const stretches = (silences) => (silences.length === 1 ? "1 stretch" : `${number(silences.length)} stretches`);

class DayView {
  constructor(facts, content) {
    this.facts = facts; this.content = content;
    this.symbolField = element("input", { type: "text", list: "symbol-names", autocomplete: "off", spellcheck: "false", size: 12 });
    this.dateField = element("input", { type: "date", min: facts.dates[0], max: facts.dates.at(-1) });
    this.body = element("div");
    const go = () => { location.hash = `#day/${encodeURIComponent(this.symbolField.value.trim().toUpperCase())}/${this.dateField.value}`; };
    for (const field of [this.symbolField, this.dateField]) field.addEventListener("change", go);
    const step = (by) => () => this.step(by);
    content.replaceChildren(
      element("div", { class: "controls" },
        element("label", {}, "Symbol ", this.symbolField), element("label", {}, "Date ", this.dateField),
        element("button", { type: "button", onclick: step(-1) }, "◀ Session before"),
        element("button", { type: "button", onclick: step(1) }, "Session after ▶"),
        element("datalist", { id: "symbol-names" }, facts.symbols.slice(0, 10000).map((name) => element("option", { value: name })))),
      this.body);
  }

  step(by) {
    const at = this.facts.dateNumbers.get(this.dateField.value) ?? this.facts.sessions - 1;
    const date = this.facts.dates[Math.max(0, Math.min(this.facts.sessions - 1, at + by))];
    location.hash = `#day/${encodeURIComponent(this.symbolField.value)}/${date}`;
  }

  async show(symbolName, date) {
    const { facts } = this;
    const name = symbolName ?? facts.symbols[0], day = date || (await this.latest(name));
    this.symbolField.value = name ?? ""; this.dateField.value = day ?? "";
    const symbol = facts.symbolNumbers.get(name), session = facts.dateNumbers.get(day);
    const shown = this.shown = {};
    if (symbol === undefined || session === undefined) {
      this.body.replaceChildren(note(symbol === undefined ? `This page has no symbol ${name}.` : `There was no session on ${day} in the range of this page.`));
      return;
    }
    const cell = facts.cell(symbol, session);
    const names = ["verdicts", "evidence", "bars", "rejected", "first", "last", "volume", "official_volume", "difference", "open", "high", "low", "close"];
    const values = Object.fromEntries(await Promise.all(names.map(async (each) => [each, (await facts.column(each))?.[cell]])));
    if (values.bars === 1 && values.first < 0) values.bars = 0; // a daily bar without minutes
    const bars = await this.bars(name, day, cell, values.bars);
    if (this.shown !== shown) return; // another day was chosen meanwhile
    this.draw(name, day, symbol, session, values, bars);
  }

  // Returns the date of the latest session with bars of a symbol, or of the last session.
  async latest(name) {
    const bars = await this.facts.column("bars"), start = this.facts.cell(this.facts.symbolNumbers.get(name) ?? 0, 0);
    for (let session = this.facts.sessions - 1; session >= 0; session--) if (bars[start + session]) return this.facts.dates[session];
    return this.facts.dates.at(-1);
  }

  async bars(name, date, cell, count) {
    if (!count) return null;
    const line = await this.facts.packedBars(cell);
    if (line) return unpackedDay(line);
    if (!this.facts.live) return undefined;
    const answer = await fetch(`bars?symbol=${encodeURIComponent(name)}&date=${date}`, { cache: "no-store" });
    return answer.ok ? unpackedDay(await answer.text()) : undefined;
  }

  draw(name, date, symbol, session, values, bars) {
    const { facts } = this, verdict = facts.verdicts[values.verdicts];
    const gap = reasonOf(facts, symbol, session);
    const opens = facts.hours.opens[session], length = facts.hours.lengths[session];
    const place = element("div", { class: "tall" });
    const parts = [element("h3", {}, chip(verdict), ` ${name} on ${date}: ${verdict}`)];
    if (gap) parts.push(element("p", {}, gap.suspicion ? element("b", {}, `${gap.suspicion}: `) : null, gap.detail));
    parts.push(this.table(values, opens, length));
    const silences = values.bars ? silencesOf(bars, opens, length) : [[opens, opens + length]];
    if (bars) {
      parts.push(place, this.silenceList(silences, opens, length));
    } else if (values.bars) {
      parts.push(note(this.facts.live
        ? "The bars of this symbol-day could not be read."
        : `The ${number(values.bars)} bars of this symbol-day are not inside this file, which has those with a problem and the newest. ‘marketpipe report --serve’ shows every symbol-day.`));
    } else {
      parts.push(note("No minute bars are stored for this symbol-day."));
    }
    parts.push(...this.events(name, date));
    const daily = element("div", { class: "medium" });
    if (values.open !== undefined) parts.push(element("h3", {}, `Official days of ${name}`), daily);
    this.body.replaceChildren(...parts);
    if (bars) this.chart(place, name, date, session, bars, silences);
    if (values.open !== undefined) this.officialDays(daily, name, date, symbol);
  }

  // Former versions and rejected bars of this symbol-day, as far as they are among the facts.
  events(name, date) {
    const { restated, rejected } = this.facts, here = (one) => one.symbol === name && one.date === date;
    return [
      ...restated.days.filter(here).map((one) => note(
        `Restated (${one.kind}): the bars known since ${momentOf(one.since)} UTC were replaced${one.until ? ` at ${momentOf(one.until)} UTC` : ""}: ${number(one.changed)} changed, ${number(one.added)} added, ${number(one.removed)} removed.`)),
      ...rejected.examples.filter(here).map((one) => note(
        `Rejected by ${one.rule} at ${momentOf(one.time)} UTC: ${one.reason} (open, high, low, close: ${one.values.slice(0, 4).join(", ")}).`)),
    ];
  }

  async officialDays(place, name, date, symbol) {
    const start = this.facts.cell(symbol, 0), names = ["open", "high", "low", "close"];
    const columns = await Promise.all(names.map((each) => this.facts.column(each)));
    const prices = Object.fromEntries(names.map((each, at) => [each, Array.from(
      columns[at].subarray(start, start + this.facts.sessions), (value) => (Number.isNaN(value) ? null : Number(value.toPrecision(7))))]));
    if (prices.open.every((value) => value === null)) return place.previousSibling.remove();
    return chart(place, `Candle chart of the official days of ${name}; ${date} is marked`, () => [
      { type: "candlestick", x: this.facts.dates, ...prices, name: "official",
        increasing: { line: { color: colourOf("up"), width: 1 } }, decreasing: { line: { color: colourOf("down"), width: 1 } } },
    ], () => ({
      shapes: [{ type: "line", xref: "x", yref: "paper", x0: date, x1: date, y0: 0, y1: 1, line: { color: colourOf("focus"), width: 1, dash: "dot" } }],
      xaxis: { rangeslider: { visible: false }, type: "date", rangebreaks: [{ bounds: ["sat", "mon"] }] }, yaxis: { title: { text: "price" } },
    }));
  }

  table(values, opens, length) {
    const rows = [
      ["Minute bars", number(values.bars)],
      ["Rejected bars", number(values.rejected)],
      ["First and last bar", values.first >= 0 ? `${clock(values.first)} and ${clock(values.last)}` : ""],
      ["Regular session", `${clock(opens)} to ${clock(opens + length)}`],
      ["Evidence", evidenceOf(this.facts, values.evidence)],
      ["Volume of the minutes", values.volume >= 0 ? number(Math.round(values.volume)) : ""],
      ["Official volume", values.official_volume >= 0 ? number(Math.round(values.official_volume)) : "no official day"],
      ["Volume compared", values.volume >= 0 && values.official_volume > 0 ? percent(values.volume / values.official_volume) : ""],
      ["Largest difference of a price", values.difference >= 0 ? percent(values.difference) : ""],
      ["Official open, high, low, close", values.open >= 0 ? ["open", "high", "low", "close"].map((each) => number(Number(values[each].toPrecision(7)))).join(", ") : ""],
    ];
    return element("dl", { class: "pairs" }, rows.filter(([, value]) => value !== "").map(([title, value]) =>
      element("div", {}, element("dt", {}, title), element("dd", {}, value))));
  }

  silenceList(silences, opens, length) {
    const minutes = silences.reduce((sum, [from, to]) => sum + to - from, 0);
    const texts = silences.slice(0, 40).map(([from, to]) => `${clock(from)} to ${clock(to)}`);
    const more = silences.length > 40 ? `, and ${number(silences.length - 40)} more` : "";
    return note(silences.length
      ? `Marked: ${stretches(silences)} of five minutes or more of the regular session without a bar, ${number(minutes)} of its ${number(length)} minutes: ${texts.join(", ")}${more}.`
      : "The regular session has no five minutes in a row without a bar.");
  }

  chart(place, name, date, session, bars, silences) {
    const times = Array.from(bars.minutes, (minute) => `${date} ${clock(minute)}`);
    const halts = this.facts.hours.halts.filter(([at, , names]) => at === session && (!names.length || names.includes(name)));
    const marks = () => [
      ...silences.map(([from, to]) => this.mark(date, from, to, colourOf("v-missing"), 0.18)),
      ...halts.map(([, [from, to]]) => this.mark(date, from, to, colourOf("v-pending"), 0.5)),
    ];
    const text = `Candle chart of ${name} on ${date}: ${countOf(bars.count, "bar")}, ${stretches(silences)} without a bar`;
    const [low, high] = [Math.min(...bars.low), Math.max(...bars.high)];
    chart(place, `${text}, prices from ${low} to ${high}`, () => [
      { type: "candlestick", x: times, open: bars.open, high: bars.high, low: bars.low, close: bars.close, name: "price",
        increasing: { line: { color: colourOf("up"), width: 1 } }, decreasing: { line: { color: colourOf("down"), width: 1 }, fillcolor: colourOf("down") } },
      { type: "bar", x: times, y: bars.volume, yaxis: "y2", name: "volume", marker: { color: colourOf("volume") } },
    ], () => ({
      shapes: marks(), xaxis: { rangeslider: { visible: false }, type: "date", tickformat: "%H:%M", hoverformat: "%H:%M" },
      yaxis: { domain: [0.28, 1], title: { text: "price" } }, yaxis2: { domain: [0, 0.22], title: { text: "volume" }, fixedrange: true },
    }));
  }

  mark(date, from, to, color, opacity) {
    const at = (minute) => (minute >= 1200 ? `${date} 23:59` : `${date} ${clock(minute)}`);
    return { type: "rect", xref: "x", yref: "paper", x0: at(from), x1: at(to), y0: 0, y1: 1, fillcolor: color, opacity, line: { width: 0 }, layer: "below" };
  }
}

// Returns why a symbol-day has its verdict; null if it needs no reason.
function reasonOf(facts, symbol, session) {
  facts.gapsOf ??= gapsBySymbol(facts.gaps);
  const found = (facts.gapsOf.get(symbol) || []).find((at) => facts.gaps.first[at] <= session && session <= facts.gaps.last[at]);
  if (found === undefined) return null;
  const [suspicion, detail] = facts.gaps.reasons[facts.gaps.reason[found]];
  return { suspicion, detail };
}

function gapsBySymbol(gaps) {
  const found = new Map();
  gaps.symbol.forEach((symbol, at) => {
    if (!found.has(symbol)) found.set(symbol, []);
    found.get(symbol).push(at);
  });
  return found;
}

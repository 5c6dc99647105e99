"use strict";
// Unpacks what Python packed: columns of all symbol-days (payload.py), and the bars of one (embedded_days.py).

const KINDS = { u1: Uint8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };

function bytesOf(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflated(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// All first bytes come first, then all second ones: they compress better so.
function fromPlanes(planes, Kind) {
  const width = Kind.BYTES_PER_ELEMENT, count = planes.length / width;
  if (width === 1) return new Kind(planes.buffer, planes.byteOffset, count);
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < width; plane++)
    for (let i = 0, from = plane * count; i < count; i++) bytes[i * width + plane] = planes[from + i];
  return new Kind(bytes.buffer);
}

async function column(packed) {
  return packed.kind === "nothing" ? null : fromPlanes(await inflated(packed.data), KINDS[packed.kind]);
}

// Returns minutes after 04:00, open, high, low, close and volume of one symbol-day; times ascend.
async function unpackedDay(text) {
  const bytes = await inflated(text), view = new DataView(bytes.buffer);
  const wholeVolume = bytes[0] === 1, exact = view.getInt32(1, true) === 1, count = view.getInt32(5, true);
  let at = 9;
  const next = (Kind) => {
    const part = bytes.slice(at, at += count * Kind.BYTES_PER_ELEMENT);
    return Kind === Int32Array ? fromPlanes(part, Kind) : new Kind(part.buffer);
  };
  const minutes = next(Int32Array);
  for (let i = 1; i < count; i++) minutes[i] += minutes[i - 1];
  const day = { minutes, count };
  if (exact) {
    const [open, high, low, close] = [next(Int32Array), next(Int32Array), next(Int32Array), next(Int32Array)];
    for (let i = 0, before = 0; i < count; i++) {
      open[i] += before;
      high[i] += open[i]; low[i] += open[i]; close[i] += open[i];
      before = close[i];
    }
    const price = (units) => Array.from(units, (unit) => unit / 10000);
    Object.assign(day, { open: price(open), high: price(high), low: price(low), close: price(close) });
  } else {
    for (const name of ["open", "high", "low", "close"]) day[name] = Array.from(next(Float64Array));
  }
  day.volume = Array.from(next(wholeVolume ? Int32Array : Float64Array));
  return day;
}

// The facts of the store with columns that are unpacked when they are first needed.
class Facts {
  constructor(payload) {
    Object.assign(this, payload);
    this.packedCells = payload.embedded.cells;
    this.sessions = this.dates.length;
    this.unpacked = new Map();
    this.symbolNumbers = new Map(this.symbols.map((name, number) => [name, number]));
    this.dateNumbers = new Map(this.dates.map((date, number) => [date, number]));
  }

  column(name) {
    if (!this.unpacked.has(name)) this.unpacked.set(name, column(this.columns[name] ?? { kind: "nothing" }));
    return this.unpacked.get(name);
  }

  cell(symbol, session) {
    return symbol * this.sessions + session;
  }

  // Returns the line of packed bars, or undefined if the file has none of this symbol-day.
  async packedBars(cell) {
    if (!this.lines) {
      const cells = (await column(this.packedCells)) || [];
      const text = document.getElementById("bars").textContent;
      this.lines = new Map();
      for (let i = 0, at = 0; i < cells.length; i++) {
        const end = text.indexOf("\n", at);
        this.lines.set(cells[i], [at, end < 0 ? text.length : end]);
        at = end + 1;
      }
      this.text = text;
    }
    const found = this.lines.get(cell);
    return found && this.text.slice(...found);
  }
}

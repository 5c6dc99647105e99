// The heat map of symbols and sessions: a canvas that draws only what is in view, so that thousands of rows scroll.

const ROW = 16, HEAD = 22, LEAST_WIDTH = 2, WITH_SIGNS = 9;

class HeatMap {
  // verdicts: a number for each cell; order: the numbers of the symbols, from top to bottom.
  constructor(facts, verdicts, onopen) {
    this.facts = facts; this.verdicts = verdicts; this.onopen = onopen;
    this.order = facts.symbols.map((_, symbol) => symbol);
    this.zoom = 0; // pixels for each session; 0: all sessions fit
    this.active = { row: 0, session: facts.sessions - 1 };
    this.seen = { scrollLeft: 0, scrollTop: 0 };
    this.ranks = facts.verdicts.map((name) => RANKS[name]);
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.cellElement = element("div", { role: "gridcell", id: "map-cell" });
    this.rowElement = element("div", { role: "row", class: "hidden-text" }, this.cellElement);
    this.space = element("div", { class: "map-space", role: "presentation" }, this.canvas);
    this.box = element("div", {
      class: "map", tabindex: "0", role: "grid", "aria-label": "Verdicts of symbols and sessions; arrow keys move, Enter opens the symbol-day",
      "aria-activedescendant": "map-cell", "aria-colcount": facts.sessions,
    }, this.space, this.rowElement);
    this.status = element("output", { class: "map-status", for: "map-cell" });
    this.box.addEventListener("scroll", () => this.soon());
    this.box.addEventListener("keydown", (event) => this.onkey(event));
    this.box.addEventListener("focus", () => this.soon());
    this.box.addEventListener("blur", () => this.soon());
    this.canvas.addEventListener("mousemove", (event) => this.describe(this.at(event)));
    this.canvas.addEventListener("click", (event) => {
      const place = this.at(event);
      if (place) { this.active = place; this.open(); }
    });
    new ResizeObserver(() => this.soon()).observe(this.box);
    this.describe(this.active);
  }

  show(order, zoom = this.zoom) {
    this.order = order; this.zoom = zoom;
    this.active.row = Math.min(this.active.row, Math.max(0, order.length - 1));
    this.box.setAttribute("aria-rowcount", order.length);
    this.describe(this.active);
    this.soon();
  }

  // Takes the place of a map of earlier facts: the same cell is active, and the same part is in view.
  goOnFrom(other) {
    const { scrollLeft, scrollTop } = other.seen;
    if (other.active.row < this.order.length && other.active.session < this.facts.sessions) this.active = other.active;
    this.describe(this.active);
    this.measure();
    Object.assign(this.box, { scrollLeft, scrollTop });
  }

  // On paper it has as many rows as fit a page.
  print(isPrinted) {
    this.printed = isPrinted ? HEAD + 50 * ROW : 0;
    this.draw();
  }

  soon() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  measure() {
    const longest = this.facts.symbols.reduce((length, name) => Math.max(length, name.length), 4);
    this.margin = Math.min(120, 14 + 7 * longest);
    const needed = HEAD + ROW * this.order.length + 20, most = this.printed || Math.max(240, 0.72 * window.innerHeight);
    this.box.style.height = `${Math.min(needed, most)}px`;
    this.width = this.box.clientWidth; this.height = this.box.clientHeight;
    const room = Math.max(20, this.width - this.margin - 2 * LEAST_WIDTH);
    this.step = this.zoom || Math.min(WITH_SIGNS * 2, room / Math.max(1, this.facts.sessions));
    this.space.style.width = `${Math.max(this.width, this.margin + Math.ceil(this.step * this.facts.sessions))}px`;
    this.space.style.height = `${HEAD + ROW * this.order.length + 2}px`;
  }

  draw() {
    this.measure();
    if (!this.width || !this.height) return;
    const ratio = window.devicePixelRatio || 1, { canvas } = this;
    canvas.style.width = `${this.width}px`; canvas.style.height = `${this.height}px`;
    canvas.width = Math.round(this.width * ratio); canvas.height = Math.round(this.height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    this.colours = this.facts.verdicts.map((name) => colourOf(`v-${name}`));
    this.inks = this.facts.verdicts.map((name) => colourOf(`i-${name}`));
    const left = this.box.scrollLeft, top = this.box.scrollTop;
    this.seen = { scrollLeft: left, scrollTop: top };
    const from = Math.floor(left / this.step);
    const to = Math.min(this.facts.sessions, Math.ceil((left + this.width - this.margin) / this.step));
    pen.font = "11px ui-monospace, monospace"; pen.textBaseline = "middle";
    const lastRow = Math.min(this.order.length, Math.ceil((top + this.height - HEAD) / ROW));
    for (let row = Math.floor(top / ROW); row < lastRow; row++) {
      const y = HEAD + row * ROW - top;
      this.drawRow(pen, row, y, from, to, left);
    }
    this.drawLabels(pen, top, lastRow);
    this.drawMonths(pen, from, to, left);
    this.drawActive(pen, left, top);
  }

  drawRow(pen, row, y, from, to, left) {
    const base = this.order[row] * this.facts.sessions, x = (session) => Math.round(this.margin + session * this.step - left);
    const shared = Math.max(1, Math.ceil(LEAST_WIDTH / this.step));
    let start = from - (from % shared), current = -1;
    for (let session = start; session < to + shared; session += shared) { // once more after the last: it ends the run
      const worst = session >= to ? -1 : this.worst(base, session, Math.min(session + shared, this.facts.sessions));
      if (worst === current) continue;
      if (current >= 0) {
        pen.fillStyle = this.colours[current];
        const at = x(start), end = Math.max(at + LEAST_WIDTH, x(session));
        pen.fillRect(at, y + 1, end - at, ROW - 2);
      }
      start = session; current = worst;
    }
    if (this.step >= WITH_SIGNS) this.drawSigns(pen, base, y, from, to, x);
  }

  drawSigns(pen, base, y, from, to, x) {
    pen.textAlign = "center";
    for (let session = from; session < to; session++) {
      const verdict = this.verdicts[base + session], sign = SIGNS[this.facts.verdicts[verdict]];
      pen.clearRect(x(session) - 0.5, y + 1, 0.5, ROW - 2);
      if (!sign) continue;
      pen.fillStyle = this.inks[verdict];
      pen.fillText(sign, x(session) + this.step / 2, y + ROW / 2 + 0.5);
    }
  }

  worst(base, from, to) {
    let found = this.verdicts[base + from];
    for (let session = from + 1; session < to; session++) {
      const verdict = this.verdicts[base + session];
      if (this.ranks[verdict] < this.ranks[found]) found = verdict;
    }
    return found;
  }

  drawLabels(pen, top, lastRow) {
    pen.fillStyle = colourOf("paper");
    pen.fillRect(0, 0, this.margin - 2, this.height);
    pen.fillStyle = colourOf("ink"); pen.textAlign = "left";
    for (let row = Math.floor(top / ROW); row < lastRow; row++)
      pen.fillText(this.facts.symbols[this.order[row]], 4, HEAD + row * ROW - top + ROW / 2 + 0.5, this.margin - 8);
  }

  drawMonths(pen, from, to, left) {
    pen.fillStyle = colourOf("paper");
    pen.fillRect(0, 0, this.width, HEAD);
    pen.fillStyle = colourOf("quiet"); pen.textAlign = "left";
    let end = this.margin;
    for (let session = from, month = ""; session < to; session++) {
      const label = this.facts.dates[session].slice(0, 7), x = this.margin + session * this.step - left;
      const begins = label !== month && (session === 0 || this.facts.dates[session - 1].slice(0, 7) !== label);
      if (begins && x >= end) {
        pen.fillText(label, x + 2, HEAD / 2);
        pen.fillRect(x, 4, 1, HEAD - 4);
        end = x + 62;
      }
      month = label;
    }
  }

  drawActive(pen, left, top) {
    if (document.activeElement !== this.box || !this.order.length) return;
    const x = this.margin + this.active.session * this.step - left, y = HEAD + this.active.row * ROW - top;
    pen.strokeStyle = colourOf("focus"); pen.lineWidth = 2;
    pen.strokeRect(x - 1, y, Math.max(4, this.step) + 2, ROW);
  }

  // Returns the row and the session under the pointer.
  at(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    if (x < this.margin || y < HEAD) return null;
    const row = Math.floor((y - HEAD + this.box.scrollTop) / ROW);
    const first = Math.floor((x - this.margin + this.box.scrollLeft) / this.step);
    if (row >= this.order.length || first >= this.facts.sessions) return null;
    const shared = Math.max(1, Math.ceil(LEAST_WIDTH / this.step)), base = this.order[row] * this.facts.sessions;
    return { row, session: this.worstSession(base, first - (first % shared), shared) };
  }

  // Of the sessions that share a place, the one whose verdict is drawn there.
  worstSession(base, from, shared) {
    const to = Math.min(from + shared, this.facts.sessions), worst = this.worst(base, from, to);
    for (let session = from; session < to; session++) if (this.verdicts[base + session] === worst) return session;
    return from;
  }

  onkey(event) {
    const { active } = this, page = Math.max(1, Math.floor((this.height - HEAD) / ROW) - 1);
    const moves = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-page, 0], PageDown: [page, 0],
      Home: [event.ctrlKey ? -active.row : 0, -active.session], End: [event.ctrlKey ? this.order.length : 0, this.facts.sessions],
    };
    if (event.key === "Enter" || event.key === " ") this.open();
    else if (moves[event.key]) this.move(...moves[event.key]);
    else return;
    event.preventDefault();
  }

  move(rows, sessions) {
    this.measure();
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    this.active = { row: within(this.active.row + rows, this.order.length), session: within(this.active.session + sessions, this.facts.sessions) };
    const y = this.active.row * ROW, x = this.active.session * this.step, { box } = this;
    if (y < box.scrollTop) box.scrollTop = y;
    if (y + ROW > box.scrollTop + this.height - HEAD) box.scrollTop = y + ROW - this.height + HEAD;
    if (x < box.scrollLeft) box.scrollLeft = x;
    if (x + this.step > box.scrollLeft + this.width - this.margin) box.scrollLeft = x + this.step - this.width + this.margin;
    this.describe(this.active);
    this.soon();
  }

  describe(place) {
    if (!place || !this.order.length) return;
    const symbol = this.order[place.row], verdict = this.facts.verdicts[this.verdicts[this.facts.cell(symbol, place.session)]];
    const text = `${this.facts.symbols[symbol]}, ${this.facts.dates[place.session]}: ${verdict}`;
    this.status.textContent = text;
    this.cellElement.textContent = text;
    this.rowElement.setAttribute("aria-rowindex", place.row + 1);
    this.cellElement.setAttribute("aria-colindex", place.session + 1);
  }

  open() {
    if (this.order.length) this.onopen(this.order[this.active.row], this.active.session);
  }
}

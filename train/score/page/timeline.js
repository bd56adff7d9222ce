// Timelines of predicates: probabilities as lines, states and truth as bands below them.
// Used by the page of a scored bag and by the dashboard. Colours are those of Okabe and Ito, and
// nothing is told by colour alone: lines differ in dashes, bands in pattern.
'use strict';

const LB_STYLE = {
  fused: { colour: null, dash: [], width: 2 },
  image: { colour: '#e69f00', dash: [6, 2], width: 1 },
  depth: { colour: '#009e73', dash: [2, 2], width: 1 },
  infrared: { colour: '#d55e00', dash: [8, 3, 2, 3], width: 1 },
  audio: { colour: '#cc79a7', dash: [1, 3], width: 1.5 },
};
const LB_HEIGHT = 56;
const LB_CURVE = 38;
const LB_GAP_S = 3; // a line is broken where nothing was said for so long
const LB_BANDS = { state: [41, 7], truth: [50, 5] };

function lbSeries() { return { t: [], p: [] }; }

function lbSearch(length, timeAt, t) { // index of the last time <= t, -1 where there is none
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeAt(middle) <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function lbFind(times, t) { return lbSearch(times.length, (i) => times[i], t); }

function lbFindChange(changes, t) { return lbSearch(changes.length, (i) => changes[i][0], t); }

class LbTimeline {
  // root: element to fill. onMoment(t): the cursor was put at t seconds.
  constructor(root, { onMoment = () => {} } = {}) {
    this.root = root;
    this.onMoment = onMoment;
    this.rows = new Map();
    this.from = 0; this.to = 1; this.cursor = null; this.end = 0;
    this.frames = 0; this.waiting = false;
    root.classList.add('lb-rows');
    root.tabIndex = 0;
    root.setAttribute('role', 'slider');
    root.setAttribute('aria-label', 'moment; arrow keys move it');
    root.addEventListener('keydown', (event) => this.onKey(event));
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.lbRow.visible = entry.isIntersecting;
      this.redraw();
    });
    new ResizeObserver(() => this.redraw(true)).observe(root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw(true));
  }

  row(name) {
    if (!this.rows.has(name)) {
      const element = document.createElement('section');
      element.className = 'lb-row';
      element.innerHTML = '<header><span></span><span></span></header><canvas></canvas>';
      element.querySelector('span').textContent = name;
      this.root.append(element);
      const canvas = element.querySelector('canvas');
      const row = {
        name, element, canvas, visible: false, label: element.querySelectorAll('span')[1],
        series: { fused: lbSeries() }, states: [], truth: [],
      };
      element.lbRow = row;
      canvas.addEventListener('pointerdown', (event) => this.point(event, canvas));
      canvas.addEventListener('pointermove', (event) => { if (event.buttons) this.point(event, canvas); });
      this.seen.observe(element);
      this.rows.set(name, row);
    }
    return this.rows.get(name);
  }

  remove(name) {
    const row = this.rows.get(name);
    if (row) { this.seen.unobserve(row.element); row.element.remove(); this.rows.delete(name); }
  }

  // lines: [{name, series: {fused: {t, p}, ...}, states: [[t, 'TRUE'], ...], truth: [[t, true], ...]}]
  append(lines, { replace = false } = {}) {
    for (const line of lines) {
      const row = this.row(line.name);
      if (replace) { row.series = { fused: lbSeries() }; row.states = []; row.truth = []; }
      row.drawn = null;
      for (const [key, added] of Object.entries(line.series || {})) {
        const series = row.series[key] || (row.series[key] = lbSeries());
        for (let i = 0; i < added.t.length; i++) { series.t.push(added.t[i]); series.p.push(added.p[i]); }
        if (added.t.length) this.end = Math.max(this.end, added.t[added.t.length - 1]);
      }
      for (const key of ['states', 'truth']) {
        for (const entry of line[key] || []) {
          const known = row[key];
          if (!known.length || known[known.length - 1][1] !== entry[1]) known.push(entry);
        }
      }
    }
    this.redraw();
  }

  forgetBefore(t) {
    for (const row of this.rows.values()) {
      for (const series of Object.values(row.series)) {
        const cut = lbFind(series.t, t);
        if (cut > 1000) { series.t.splice(0, cut); series.p.splice(0, cut); }
      }
      for (const key of ['states', 'truth']) {
        while (row[key].length > 1 && row[key][1][0] < t) row[key].shift();
      }
    }
  }

  show(from, to) { this.from = from; this.to = Math.max(to, from + 0.1); this.redraw(); }

  setCursor(t, { tell = true } = {}) {
    this.cursor = t;
    this.redraw(true);
    if (t !== null) {
      this.root.setAttribute('aria-valuenow', t.toFixed(1));
      this.root.setAttribute('aria-valuetext', `${t.toFixed(1)} seconds`);
    }
    if (tell) this.onMoment(t);
  }

  point(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.setCursor(this.from + share * (this.to - this.from));
  }

  onKey(event) {
    const span = this.to - this.from;
    const at = this.cursor === null ? this.to : this.cursor;
    const step = event.shiftKey ? span / 10 : span / 200;
    const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: this.from, End: this.to };
    if (event.key in moves) {
      this.setCursor(Math.min(this.end, Math.max(0, moves[event.key])));
      event.preventDefault();
    }
  }

  redraw(all = false) {
    if (all) for (const row of this.rows.values()) row.drawn = null;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const style = getComputedStyle(document.documentElement);
    const ink = {};
    for (const name of ['ink', 'faint', 'muted', 'true', 'false', 'truth', 'focus']) {
      ink[name] = style.getPropertyValue(`--${name}`).trim();
    }
    for (const row of this.rows.values()) {
      if (row.visible && this.hasMoved(row)) this.drawRow(row, ink);
    }
    this.frames += 1;
  }

  hasMoved(row) { // a row is drawn again for news, or once it would shift by a pixel
    const span = this.to - this.from;
    if (!row.drawn || row.drawn.span !== span) return true;
    return Math.abs(this.from - row.drawn.from) * row.canvas.width >= span;
  }

  drawRow(row, ink) {
    row.drawn = { from: this.from, span: this.to - this.from };
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = row.canvas.clientWidth;
    if (row.canvas.width !== Math.round(width * ratio)) {
      row.canvas.width = Math.round(width * ratio);
      row.canvas.height = LB_HEIGHT * ratio;
    }
    const pen = row.canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, LB_HEIGHT);
    const x = (t) => (t - this.from) / (this.to - this.from) * width;
    const y = (p) => 1 + (1 - p) * (LB_CURVE - 2);
    pen.strokeStyle = ink.faint;
    pen.lineWidth = 1;
    pen.setLineDash([]);
    for (const p of [0, 0.5, 1]) {
      pen.beginPath(); pen.moveTo(0, y(p)); pen.lineTo(width, y(p)); pen.stroke();
    }
    const order = Object.keys(row.series).filter((key) => key !== 'fused').concat('fused');
    for (const key of order) this.drawLine(pen, row.series[key], LB_STYLE[key] || LB_STYLE.image, x, y, ink, width);
    this.drawBand(pen, row.states, LB_BANDS.state, x, ink, row.series.fused);
    this.drawBand(pen, row.truth, LB_BANDS.truth, x, ink, row.series.fused);
    if (this.cursor !== null) {
      pen.strokeStyle = ink.focus; pen.lineWidth = 1.5; pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(x(this.cursor), 0); pen.lineTo(x(this.cursor), LB_HEIGHT); pen.stroke();
    }
    row.label.textContent = this.describe(row, this.cursor === null ? this.end : this.cursor);
  }

  drawLine(pen, series, style, x, y, ink, width) {
    const first = Math.max(0, lbFind(series.t, this.from));
    const last = Math.min(series.t.length - 1, lbFind(series.t, this.to) + 1);
    pen.strokeStyle = style.colour || ink.ink;
    pen.lineWidth = style.width;
    // More points than pixels: one stroke a pixel, from its lowest to its highest value. Dashes
    // could not be told there, and take longest to draw.
    const stride = Math.max(1, Math.floor((last - first) / width));
    pen.setLineDash(stride > 1 ? [] : style.dash);
    pen.beginPath();
    let gap = true, before = -Infinity;
    for (let i = first; i <= last; i += stride) {
      let low = Infinity, high = -Infinity;
      for (let j = i; j < Math.min(i + stride, last + 1); j++) {
        const p = series.p[j];
        if (p !== null) { low = Math.min(low, p); high = Math.max(high, p); }
      }
      if (low === Infinity || series.t[i] - before > LB_GAP_S) gap = true;
      before = series.t[Math.min(i + stride - 1, last)];
      if (low === Infinity) continue;
      if (gap) pen.moveTo(x(series.t[i]), y(low)); else pen.lineTo(x(series.t[i]), y(low));
      if (high !== low) pen.lineTo(x(series.t[i]), y(high));
      gap = false;
    }
    pen.stroke();
  }

  drawBand(pen, changes, [top, height], x, ink, fused) {
    const newest = fused.t.length ? fused.t[fused.t.length - 1] : this.to;
    const first = Math.max(0, lbFindChange(changes, this.from));
    for (let i = first; i < changes.length && changes[i][0] <= this.to; i++) {
      const begin = Math.max(0, x(changes[i][0]));
      const end = x(Math.min(this.to, i + 1 < changes.length ? changes[i + 1][0] : newest));
      const value = changes[i][1];
      pen.setLineDash([]);
      if (value === 'TRUE' || value === true) {
        pen.fillStyle = value === true ? ink.truth : ink.true;
        pen.fillRect(begin, top, Math.max(1, end - begin), height);
      } else if (value === 'FALSE' || value === false) {
        pen.strokeStyle = ink.muted; pen.lineWidth = 1;
        const middle = top + height / 2;
        pen.beginPath(); pen.moveTo(begin, middle); pen.lineTo(end, middle); pen.stroke();
      } else if (value === 'UNKNOWN') {
        pen.strokeStyle = ink.muted; pen.lineWidth = 1;
        pen.beginPath();
        for (let at = begin; at < end; at += 5) {
          pen.moveTo(at, top + height); pen.lineTo(Math.min(end, at + 4), top);
        }
        pen.stroke();
      }
    }
  }

  describe(row, t) {
    const at = lbFind(row.series.fused.t, t);
    const p = at >= 0 ? row.series.fused.p[at] : null;
    const state = lbFindChange(row.states, t);
    const truth = lbFindChange(row.truth, t);
    const words = [p === null || p === undefined ? '–' : p.toFixed(2)];
    if (state >= 0) words.push(row.states[state][1]);
    if (truth >= 0 && row.truth[truth][1] !== null) words.push(row.truth[truth][1] ? 'truth: yes' : 'truth: no');
    return words.join(' · ');
  }
}

function lbLegend(element, modalities) {
  const line = (key) => {
    const style = LB_STYLE[key];
    return `<span><svg width="26" height="8"><line x1="0" y1="4" x2="26" y2="4" stroke="${style.colour || 'currentColor'}"
      stroke-width="${style.width + 0.5}" stroke-dasharray="${style.dash.join(' ')}"/></svg>${key}</span>`;
  };
  const bands = `<span><svg width="26" height="8"><rect width="26" height="8" fill="var(--true)"/></svg>held true</span>
    <span><svg width="26" height="8"><line x1="0" y1="4" x2="26" y2="4" stroke="currentColor"/></svg>held false</span>
    <span><svg width="26" height="8"><path d="M0 8L4 0M6 8L10 0M12 8L16 0M18 8L22 0" stroke="currentColor"/></svg>unknown</span>
    <span><svg width="26" height="8"><rect width="26" height="8" fill="var(--truth)"/></svg>truth (lower band)</span>`;
  element.innerHTML = ['fused', ...modalities].map(line).join('') + bands;
}

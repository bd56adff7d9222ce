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
  touch: { colour: '#56b4e9', dash: [6, 2, 2, 2, 2, 2], width: 1 },
};
const LB_HEIGHT = 56;
const LB_CURVE = 38;
const LB_GAP_S = 3; // a line is broken where nothing was said for so long
const LB_BANDS = { state: [41, 7], truth: [50, 5] };

function lbSearch(length, timeAt, t) { // index of the last time <= t, -1 where there is none
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeAt(middle) <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}

class LbSeries { // probabilities over time; NaN where nothing could be told
  constructor() { this.times = new Float64Array(256); this.values = new Float32Array(256); this.length = 0; }

  push(t, p) {
    if (this.length === this.times.length) {
      const times = new Float64Array(2 * this.length), values = new Float32Array(2 * this.length);
      times.set(this.times); values.set(this.values);
      Object.assign(this, { times, values });
    }
    this.times[this.length] = t;
    this.values[this.length] = p === null ? NaN : p;
    this.length += 1;
  }

  find(t) { return lbSearch(this.length, (i) => this.times[i], t); } // the last one at or before t

  newest() { return this.length ? this.times[this.length - 1] : -Infinity; }

  forgetBefore(t) {
    const cut = this.find(t);
    if (cut < 1000) return; // seldom, so that it costs little
    this.times.copyWithin(0, cut, this.length);
    this.values.copyWithin(0, cut, this.length);
    this.length -= cut;
  }
}

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
    this.width = root.clientWidth;
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.lbRow.visible = entry.isIntersecting;
      this.redraw();
    });
    new ResizeObserver(() => { this.width = root.clientWidth; this.redraw(true); }).observe(root);
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
        name, element, canvas, visible: false, drawn: null, news: Infinity, label: element.querySelectorAll('span')[1],
        series: { fused: new LbSeries() }, states: [], truth: [],
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
      if (replace) { row.series = { fused: new LbSeries() }; row.states = []; row.truth = []; row.drawn = null; }
      for (const [key, added] of Object.entries(line.series || {})) {
        const series = row.series[key] || (row.series[key] = new LbSeries());
        // What is drawn anew begins at the last known point, where the line goes on.
        if (added.t.length) row.news = Math.min(row.news, series.newest() === -Infinity ? added.t[0] : series.newest());
        for (let i = 0; i < added.t.length; i++) series.push(added.t[i], added.p[i]);
        this.end = Math.max(this.end, series.newest());
      }
      for (const key of ['states', 'truth']) {
        for (const entry of line[key] || []) {
          const known = row[key];
          if (known.length && known[known.length - 1][1] === entry[1]) continue;
          known.push(entry);
          row.news = Math.min(row.news, entry[0]);
        }
      }
    }
    this.redraw();
  }

  forgetBefore(t) {
    for (const row of this.rows.values()) {
      for (const series of Object.values(row.series)) series.forgetBefore(t);
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
    if (all) { this.ink = null; for (const row of this.rows.values()) row.drawn = null; }
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const ink = {};
    for (const name of ['ink', 'faint', 'muted', 'true', 'false', 'truth', 'focus']) {
      ink[name] = style.getPropertyValue(`--${name}`).trim();
    }
    return ink;
  }

  draw() {
    this.ink = this.ink || this.colours();
    for (const row of this.rows.values()) if (row.visible) this.drawRow(row);
    this.frames += 1;
  }

  // A lane moves by whole pixels: what is drawn already is shifted, and only what is new is drawn.
  drawRow(row) {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const canvas = row.canvas, width = Math.round(this.width * ratio);
    if (canvas.width !== width || canvas.height !== LB_HEIGHT * ratio) {
      canvas.width = width; canvas.height = LB_HEIGHT * ratio;
      row.drawn = null;
    }
    const scale = width / (this.to - this.from); // pixels a second
    const left = Math.floor(this.from * scale);
    const pixel = (t) => Math.floor(t * scale);
    const was = row.drawn !== null && Math.abs(row.drawn.scale / scale - 1) < 1e-9 ? row.drawn : null;
    const shift = was ? left - was.left : -1;
    let begin = 0;
    if (was && shift >= 0 && shift < width && this.cursor === null) {
      const moved = pixel(this.end) > was.newest;
      if (!shift && !(moved && row.news < Infinity)) return;
      begin = Math.max(0, Math.min(width - shift, was.newest - left, pixel(row.news) - left) - 3);
    } else if (was && !shift && row.news === Infinity) return;
    const pen = canvas.getContext('2d');
    pen.setTransform(1, 0, 0, 1, 0, 0);
    if (begin > 0 && shift > 0) {
      pen.globalCompositeOperation = 'copy';
      pen.drawImage(canvas, -shift, 0);
      pen.globalCompositeOperation = 'source-over';
    }
    row.drawn = { scale, left, newest: pixel(this.end) };
    row.news = Infinity;
    this.paint(row, pen, { ratio, begin: begin / ratio, width: width / ratio, from: left / scale, to: (left + width) / scale });
    const said = this.describe(row, this.cursor === null ? this.end : this.cursor);
    if (row.label.textContent !== said) row.label.textContent = said;
  }

  paint(row, pen, { ratio, begin, width, from, to }) { // the lane from `begin` pixels on
    const ink = this.ink;
    pen.save();
    pen.scale(ratio, ratio);
    pen.beginPath(); pen.rect(begin, 0, width - begin, LB_HEIGHT); pen.clip();
    pen.clearRect(begin, 0, width - begin, LB_HEIGHT);
    const x = (t) => (t - from) / (to - from) * width;
    const y = (p) => 1 + (1 - p) * (LB_CURVE - 2);
    const view = { from: from + (begin - 3) / width * (to - from), to, x, y, origin: from / (to - from) * width };
    pen.strokeStyle = ink.faint;
    pen.lineWidth = 1;
    for (const p of [0, 0.5, 1]) {
      pen.beginPath(); pen.moveTo(begin, y(p)); pen.lineTo(width, y(p)); pen.stroke();
    }
    const order = Object.keys(row.series).filter((key) => key !== 'fused').concat('fused');
    for (const key of order) {
      const series = row.series[key];
      const dense = series.find(to) - series.find(from) > width;
      this.drawLine(pen, series, LB_STYLE[key] || LB_STYLE.image, { ...view, dense });
    }
    this.drawBand(pen, row.states, LB_BANDS.state, view, row.series.fused);
    this.drawBand(pen, row.truth, LB_BANDS.truth, view, row.series.fused);
    if (this.cursor !== null) {
      pen.strokeStyle = ink.focus; pen.lineWidth = 1.5; pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(x(this.cursor), 0); pen.lineTo(x(this.cursor), LB_HEIGHT); pen.stroke();
    }
    pen.restore();
  }

  // Several points of one pixel become one stroke from the lowest to the highest value. Dashes
  // could not be told where most are so, and take longest to draw.
  drawLine(pen, series, style, { from, to, x, y, origin, dense }) {
    const { times, values, length } = series;
    const first = Math.max(0, series.find(from)), last = Math.min(length - 1, series.find(to) + 1);
    if (last < first) return;
    pen.strokeStyle = style.colour || this.ink.ink;
    pen.lineWidth = style.width;
    pen.setLineDash(dense ? [] : style.dash);
    pen.lineDashOffset = origin + x(times[first]); // dashes stay where they are as the lane moves
    pen.beginPath();
    let gap = true;
    for (let i = first; i <= last; i++) {
      if (i > first && times[i] - times[i - 1] > LB_GAP_S) gap = true;
      if (Number.isNaN(values[i])) { gap = true; continue; }
      const at = x(times[i]), column = Math.floor(at);
      let low = values[i], high = low;
      while (i < last && Math.floor(x(times[i + 1])) === column && values[i + 1] === values[i + 1]) {
        i += 1;
        low = Math.min(low, values[i]); high = Math.max(high, values[i]);
      }
      if (gap) pen.moveTo(at, y(low)); else pen.lineTo(at, y(low));
      if (high !== low) pen.lineTo(at, y(high));
      gap = false;
    }
    pen.stroke();
  }

  drawBand(pen, changes, [top, height], { from, to, x, origin }, fused) {
    const ink = this.ink;
    const newest = fused.length ? fused.newest() : to;
    const first = Math.max(0, lbFindChange(changes, from));
    for (let i = first; i < changes.length && changes[i][0] <= to; i++) {
      const begin = Math.max(x(from), x(changes[i][0]));
      const end = x(Math.min(to, i + 1 < changes.length ? changes[i + 1][0] : newest));
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
        const stripe = begin - (origin + begin) % 5; // stripes stay where they are, too
        for (let at = Math.max(x(changes[i][0]), stripe); at < end; at += 5) {
          pen.moveTo(at, top + height); pen.lineTo(Math.min(end, at + 4), top);
        }
        pen.stroke();
      }
    }
  }

  describe(row, t) {
    const fused = row.series.fused;
    const at = fused.find(t);
    const p = at >= 0 ? fused.values[at] : NaN;
    const state = lbFindChange(row.states, t);
    const truth = lbFindChange(row.truth, t);
    const words = [Number.isNaN(p) ? '–' : p.toFixed(2)];
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

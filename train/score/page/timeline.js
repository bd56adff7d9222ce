// Timelines of predicates: a uPlot chart for each, with states and truth as bands below the curves.
// Used by the page of a scored bag and by the dashboard. Colours are those of Okabe and Ito, and
// colour is never the only cue: lines differ in dashes and width, bands in pattern.
'use strict';

const LB_STYLE = {
  image: { colour: '#e69f00', dash: [6, 2], width: 1 },
  depth: { colour: '#009e73', dash: [2, 2], width: 1 },
  infrared: { colour: '#d55e00', dash: [8, 3, 2, 3], width: 1 },
  audio: { colour: '#cc79a7', dash: [1, 3], width: 1.5 },
  touch: { colour: '#56b4e9', dash: [6, 2, 2, 2, 2, 2], width: 1 },
  wrench: { colour: '#7b6fd0', dash: [3, 1], width: 1 },
  joints: { colour: '#999933', dash: [10, 2], width: 1 },
  imu: { colour: '#2f8fcb', dash: [1, 1], width: 1 },
  signals: { colour: '#a6761d', dash: [4, 2, 1, 2], width: 1 },
  fused: { colour: null, dash: [], width: 2 },
};
// A series with a caveat is drawn under a key of its own: a sensor without a vote thin and pale,
// an answer that is not calibrated dashed and grey.
const LB_CAVEAT = '?';
const LB_PART = { dash: [1, 1], width: 1.5 }; // of a part of a view, in the colour of its modality
const LB_NO_VOTE = { dash: [1, 4], width: 1, alpha: 0.7 };
const LB_NOT_CALIBRATED = { colour: 'muted', dash: [7, 5], width: 1.5 };
const LB_HEIGHT = 84;
const LB_GAP_S = 3; // a line is broken where there was no value for so long
const LB_FLOOR = -0.55;
const LB_BANDS = { states: [-0.14, -0.32], truth: [-0.39, -0.52] };

function lbStyle(key) {
  const [name, part] = key.replace(LB_CAVEAT, '').split('@'); // a part of a view: depth@gripper
  const style = { alpha: 1, ...LB_STYLE[name], ...(part ? LB_PART : {}) };
  if (!key.endsWith(LB_CAVEAT)) return style;
  return { ...style, ...(key.startsWith('fused') ? LB_NOT_CALIBRATED : LB_NO_VOTE) };
}

function lbFind(list, t, timeOf = (entry) => entry) { // index of the last one at or before t, or -1
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(list[middle]) <= t) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function lbAt(changes, t) { // value of [[time, value], ...] at t, undefined before the first
  return changes[lbFind(changes, t, (change) => change[0])]?.[1];
}

function* lbSpans(changes, from, to) { // [begin, end, value] of changes within a span
  for (let i = 0; i < changes.length; i++) {
    const begin = Math.max(from, changes[i][0]), end = Math.min(to, changes[i + 1]?.[0] ?? to);
    if (begin < end) yield [begin, end, changes[i][1]];
  }
}

class LbRow { // the values of one predicate, in the aligned columns that uPlot draws
  constructor(name, element) {
    Object.assign(this, { name, element, keys: ['fused'], data: [[], []], newest: {}, fresh: true });
    Object.assign(this, { answers: [], states: [], truth: [], caveats: [[-Infinity, {}]], taught: [], plot: null, visible: false });
  }

  reset() { // other answers follow; the truth stays
    Object.assign(this, { data: [[], ...this.keys.map(() => [])], newest: {}, fresh: true });
    Object.assign(this, { answers: [], states: [], caveats: [[-Infinity, {}]], taught: [] });
  }

  column(key) {
    if (!this.keys.includes(key)) {
      this.keys.push(key);
      this.data.push(new Array(this.data[0].length));
      this.plot?.destroy();
      this.plot = null;
    }
    return this.data[this.keys.indexOf(key) + 1];
  }

  cut(key, from, to) { // break a line: null in all rows between two times
    this.set(from + 1e-3, key, null);
    this.data[this.keys.indexOf(key) + 1].fill(null, lbFind(this.data[0], from) + 1, lbFind(this.data[0], to - 1e-6) + 1);
  }

  set(t, key, p) { // null breaks the line
    const column = this.column(key), times = this.data[0];
    let at = lbFind(times, t);
    if (times[at] !== t) {
      at += 1;
      times.splice(at, 0, t);
      for (let i = 1; i < this.data.length; i++) this.data[i].splice(at, 0, undefined);
    }
    column[at] = p;
  }

  add(line) {
    if (line.replaced) this.reset();
    for (const kind of ['caveats', 'states', 'truth', 'taught']) {
      for (const change of line[kind] || []) {
        const last = this[kind][this[kind].length - 1];
        if (!last || JSON.stringify(last[1]) !== JSON.stringify(change[1])) this[kind].push(change);
      }
    }
    const points = Object.entries(line.series || {}).flatMap(([key, { t, p }]) => t.map((at, i) => [at, key, p[i]]));
    for (const [t, key, p] of points.sort((one, other) => one[0] - other[0])) {
      const doubted = key in (lbAt(this.caveats, t) ?? {});
      const [own, other] = doubted ? [key + LB_CAVEAT, key] : [key, key + LB_CAVEAT];
      const last = this.newest[own];
      if (t - last > LB_GAP_S || this.newest[other] > last) this.cut(own, last, t);
      this.set(t, own, p);
      this.newest[own] = t;
      if (key === 'fused') this.answers.push([t, p]);
    }
    this.fresh = true;
  }

  forgetBefore(t) {
    const cut = lbFind(this.data[0], t);
    if (cut >= 1000) for (const column of this.data) column.splice(0, cut); // seldom, so that it costs little
    for (const kind of ['answers', 'states', 'truth', 'caveats', 'taught']) while (this[kind][1]?.[0] < t) this[kind].shift();
  }

  describe(t) { // in words; that it is not calibrated has an element of its own
    const silent = Object.keys(lbAt(this.caveats, t) || {}).filter((key) => key !== 'fused');
    const words = silent.length ? [`no vote: ${silent.join(', ')}`] : [];
    const state = lbAt(this.states, t), truth = lbAt(this.truth, t);
    words.push(lbAt(this.answers, t)?.toFixed(2) ?? '–');
    if (state) words.push(state);
    if (truth !== undefined && truth !== null) words.push(truth ? 'truth: yes' : 'truth: no');
    return words.join(' · ');
  }
}

class LbTimeline {
  // root: element to fill. onMoment(t): the cursor was put at t seconds.
  constructor(root, { onMoment = () => {} } = {}) {
    Object.assign(this, { root, onMoment, rows: new Map(), from: 0, to: 1, cursor: null, end: 0, waiting: false });
    // More room below the bands, what draws there, and seconds per arrow key: for the page of labels.
    Object.assign(this, { floor: LB_FLOOR, height: LB_HEIGHT, paint: null, step: null });
    root.classList.add('lb-rows');
    root.tabIndex = 0;
    root.setAttribute('role', 'slider');
    root.setAttribute('aria-label', 'moment; arrow keys move it');
    root.addEventListener('keydown', (event) => this.onKey(event));
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.lbRow.visible = entry.isIntersecting;
      this.redraw();
    });
    new ResizeObserver(() => {
      for (const { plot } of this.rows.values()) plot?.setSize({ width: root.clientWidth, height: LB_HEIGHT });
      this.redraw(true);
    }).observe(root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw(true));
  }

  row(name) {
    if (!this.rows.has(name)) {
      const element = document.createElement('section');
      element.className = 'lb-row';
      element.innerHTML = '<header><span class="lb-name"></span><span class="lb-caveat"></span><span class="lb-taught"></span><span class="lb-label"></span></header><div></div>';
      element.querySelector('.lb-name').textContent = name;
      this.root.append(element);
      element.lbRow = new LbRow(name, element);
      this.rows.set(name, element.lbRow);
      this.seen.observe(element);
    }
    return this.rows.get(name);
  }

  remove(name) {
    const row = this.rows.get(name);
    if (!row) return;
    this.seen.unobserve(row.element);
    row.plot?.destroy();
    row.element.remove();
    this.rows.delete(name);
  }

  // lines: [{name, series: {fused: {t, p}, ...}, states: [[t, 'TRUE'], ...], truth: [[t, true], ...],
  //   caveats: [[t, {fused: 'not calibrated', audio: 'no vote'}], ...], taught: [[t, 'taught (...)'], ...],
  //   replaced: whether earlier points of the line, except its truth, no longer hold}]
  append(lines) {
    for (const line of lines) {
      this.row(line.name).add(line);
      for (const { t } of Object.values(line.series || {})) this.end = Math.max(this.end, t[t.length - 1] ?? 0);
    }
    this.redraw();
  }

  forgetBefore(t) { for (const row of this.rows.values()) row.forgetBefore(t); }

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

  onKey(event) {
    const span = this.to - this.from;
    const at = this.cursor === null ? this.to : this.cursor;
    const step = this.step ? this.step * (event.shiftKey ? 10 : 1) : event.shiftKey ? span / 10 : span / 200;
    const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: this.from, End: this.to };
    if (event.key in moves) {
      this.setCursor(Math.min(this.end, Math.max(0, moves[event.key])));
      event.preventDefault();
    }
  }

  redraw(all = false) {
    if (all) { this.colours = null; for (const row of this.rows.values()) row.fresh = true; }
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  get ink() { // colours of the style sheet, which differ by day and night
    if (!this.colours) {
      const style = getComputedStyle(document.documentElement);
      const names = ['ink', 'faint', 'muted', 'true', 'truth', 'focus', 'label'];
      this.colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    }
    return this.colours;
  }

  draw() { // charts move by whole pixels, and only what moved or is new is drawn
    if (!this.root.clientWidth) return;
    const scale = this.root.clientWidth / (this.to - this.from);
    const min = Math.floor(this.from * scale) / scale, max = min + this.to - this.from;
    for (const row of this.rows.values()) {
      if (!row.visible || (row.plot && !row.fresh && row.drawn === `${min} ${max}`)) continue;
      row.plot ??= this.chart(row);
      row.plot.batch((plot) => { plot.setData(row.data, false); plot.setScale('x', { min, max }); });
      Object.assign(row, { drawn: `${min} ${max}`, fresh: false });
      this.label(row);
    }
  }

  label(row) {
    const left = row.plot.cursor.left, hovered = left >= 0;
    const t = hovered ? row.plot.posToVal(left, 'x') : this.cursor ?? this.end;
    row.plot.over.querySelector('.u-cursor-x').dataset.at = `${t.toFixed(1)} s`;
    const texts = { '.lb-label': row.describe(t), '.lb-caveat': lbAt(row.caveats, t)?.fused ?? '', '.lb-taught': lbAt(row.taught, t) ?? '' };
    for (const [selector, text] of Object.entries(texts)) {
      const element = row.element.querySelector(selector);
      if (element.textContent !== text) element.textContent = text;
    }
  }

  chart(row) {
    const axis = { stroke: () => this.ink.muted, font: '10px system-ui, sans-serif', ticks: { show: false }, gap: 2 };
    const grid = { stroke: () => this.ink.faint, width: 1 };
    const keys = row.keys.map((key, column) => [key, column + 1]);
    const drawn = [...keys].sort(([one], [other]) => lbOrder(one) - lbOrder(other)); // fused on top
    row.keys = drawn.map(([key]) => key);
    row.data = [row.data[0], ...drawn.map(([, column]) => row.data[column])];
    const plot = new uPlot({
      width: this.root.clientWidth, height: this.height, padding: [4, 14, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, auto: false }, y: { auto: false, range: [this.floor, 1.02] } },
      axes: [
        { ...axis, size: 15, space: 70, grid, values: (_, splits) => splits.map((t) => `${t} s`) },
        { ...axis, size: 26, grid, splits: [0, 0.5, 1] },
      ],
      series: [{}, ...row.keys.map((key) => {
        const style = lbStyle(key);
        const stroke = () => this.ink[style.colour] || style.colour || this.ink.ink;
        return { stroke, width: style.width, dash: style.dash, alpha: style.alpha, auto: false, points: { show: false } };
      })],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: 'lb', setSeries: false, scales: ['x', null] } },
      hooks: { draw: [(plot) => this.drawBands(row, plot)], setCursor: [() => row.plot && this.label(row)] },
    }, row.data, row.element.lastElementChild);
    const point = (event) => this.setCursor(plot.posToVal(event.offsetX, 'x'));
    plot.over.addEventListener('pointerdown', point);
    plot.over.addEventListener('pointermove', (event) => { if (event.buttons) point(event); });
    return plot;
  }

  drawBands(row, plot) {
    const pen = plot.ctx, { left, top, width, height } = plot.bbox;
    const x = (t) => plot.valToPos(t, 'x', true);
    const { min, max } = plot.scales.x, newest = row.data[0][row.data[0].length - 1] ?? max;
    pen.save();
    pen.beginPath(); pen.rect(left, top, width, height); pen.clip();
    pen.lineWidth = uPlot.pxRatio;
    for (const [kind, [high, low]] of Object.entries(LB_BANDS)) {
      const y = plot.valToPos(high, 'y', true), tall = plot.valToPos(low, 'y', true) - y;
      for (const [begin, end, value] of lbSpans(row[kind], min, Math.min(max, newest))) {
        for (const [from, to, caveats] of lbSpans(row.caveats, begin, end)) {
          const doubted = kind === 'states' && 'fused' in caveats;
          this.drawBand(pen, value, doubted, [x(from), y, Math.max(1, x(to) - x(from)), tall], x(0));
        }
      }
    }
    pen.setLineDash([]);
    this.paint?.(row, plot, pen, x);
    if (this.cursor !== null) {
      pen.strokeStyle = this.ink.focus; pen.lineWidth = 1.5 * uPlot.pxRatio;
      pen.beginPath(); pen.moveTo(x(this.cursor), top); pen.lineTo(x(this.cursor), top + height); pen.stroke();
    }
    pen.restore();
  }

  // True is filled, false a line, unknown hatched; what is not calibrated only outlined, and dashed.
  drawBand(pen, value, doubted, [x, y, wide, tall], origin) {
    const truth = typeof value === 'boolean';
    pen.fillStyle = pen.strokeStyle = truth ? this.ink.truth : this.ink.true;
    pen.setLineDash(doubted ? [4, 4] : []);
    if (value === true || value === 'TRUE') {
      if (doubted) pen.strokeRect(x + 0.5, y + 0.5, wide - 1, tall - 1); else pen.fillRect(x, y, wide, tall);
      return;
    }
    pen.strokeStyle = this.ink.muted;
    pen.beginPath();
    if (value === 'UNKNOWN') {
      pen.setLineDash([]);
      const step = 5 * uPlot.pxRatio; // stripes stay where they are as the chart moves
      for (let at = origin + Math.floor((x - origin) / step) * step; at < x + wide; at += step) { pen.moveTo(Math.max(x, at), y + tall); pen.lineTo(Math.min(x + wide, Math.max(x, at + tall)), y); }
    } else {
      pen.moveTo(x, y + tall / 2); pen.lineTo(x + wide, y + tall / 2);
    }
    pen.stroke();
  }
}

function lbOrder(key) { return 2 * Object.keys(LB_STYLE).indexOf(key.replace(LB_CAVEAT, '')) - Number(key.endsWith(LB_CAVEAT)); }

// What the lines and bands of some rows mean; call it again when rows got new series.
function lbLegend(element, timeline) {
  const rows = [...timeline.rows.values()];
  const keys = [...new Set(rows.flatMap((row) => row.keys))].sort((one, other) => lbOrder(other) - lbOrder(one));
  const truth = rows.some((row) => row.truth.length), doubted = keys.includes(`fused${LB_CAVEAT}`);
  const known = JSON.stringify([keys, truth]);
  if (!rows.length || element.dataset.known === known) return;
  element.dataset.known = known;
  const sample = (drawing, text) => `<span><svg width="26" height="8">${drawing}</svg>${text}</span>`;
  const line = (key, text) => {
    const { colour, dash, width, alpha } = lbStyle(key);
    const stroke = colour === 'muted' ? 'var(--muted)' : colour || 'var(--ink)';
    return sample(`<line x1="0" y1="4" x2="26" y2="4" stroke="${stroke}" stroke-width="${width + 0.3}" opacity="${alpha}" stroke-dasharray="${dash.join(' ')}"/>`, text);
  };
  const quiet = keys.find((key) => key.endsWith(LB_CAVEAT) && !key.startsWith('fused'));
  element.innerHTML = [
    ...keys.filter((key) => !key.endsWith(LB_CAVEAT)).map((key) => line(key, key)),
    quiet ? line(quiet, 'no vote (of a sensor)') : '',
    doubted ? line(`fused${LB_CAVEAT}`, 'fused, not calibrated: only its order means something') : '',
    sample('<rect width="26" height="8" fill="var(--true)"/>', 'held true'),
    sample('<line x1="0" y1="4" x2="26" y2="4" stroke="var(--muted)"/>', 'held false'),
    sample('<path d="M0 8L8 0M6 8L14 0M12 8L20 0M18 8L26 0" stroke="var(--muted)"/>', 'unknown'),
    doubted ? sample('<rect x="0.5" y="0.5" width="25" height="7" fill="none" stroke="var(--true)" stroke-dasharray="4 4"/>', 'held true, not calibrated') : '',
    truth ? sample('<rect width="26" height="8" fill="var(--truth)"/>', 'truth (lower band)') : '',
  ].join('');
}

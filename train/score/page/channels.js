// Channels of series over time: a small uPlot chart for each quantity, with the window that an encoder
// takes at the moment marked. Lines differ in dashes as well as in colour; of many, only the last stands out.
'use strict';

const LB_LINES = [{ colour: '#e69f00', dash: [] }, { colour: '#3d9bd3', dash: [5, 2] }, { colour: '#cc79a7', dash: [2, 2] }];
const LB_MANY = { colour: 'muted', dash: [] };
const LB_CHANNEL_HEIGHT = 62;

class LbChannels {
  // groups: [{modality, title, window_s, labels, t: [seconds], v: [[value, ...] of each channel]}, ...]
  constructor(root, groups, timeline) {
    Object.assign(this, { root, timeline, cursor: null });
    this.rows = groups.map((group) => this.row(group));
    new ResizeObserver(() => { for (const { plot } of this.rows) plot.setSize({ width: root.clientWidth, height: LB_CHANNEL_HEIGHT }); }).observe(root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.setCursor(this.cursor));
  }

  row(group) {
    const element = document.createElement('section');
    element.className = 'lb-row lb-channels';
    element.innerHTML = '<header><span class="lb-name"></span><span class="lb-label"></span></header><div></div>';
    element.querySelector('.lb-name').textContent = `${group.modality} · ${group.title}`;
    this.root.append(element);
    const row = { group, element };
    row.plot = this.chart(row);
    return row;
  }

  style({ labels }, index) {
    if (labels.length > LB_LINES.length && index < labels.length - 1) return LB_MANY;
    return LB_LINES[index % LB_LINES.length];
  }

  chart({ group, element }) {
    const ink = () => this.timeline.ink;
    const axis = { stroke: () => ink().muted, font: '10px system-ui, sans-serif', ticks: { show: false }, gap: 2, grid: { stroke: () => ink().faint, width: 1 } };
    const plot = new uPlot({
      width: this.root.clientWidth || 300, height: LB_CHANNEL_HEIGHT, padding: [4, 14, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, auto: false, range: [this.timeline.from, this.timeline.to] } },
      axes: [{ ...axis, size: 15, space: 70, values: (_, splits) => splits.map((t) => `${t} s`) }, { ...axis, size: 26, space: 22, values: (_, splits) => splits.map(lbShort) }],
      series: [{}, ...group.labels.map((label, index) => {
        const { colour, dash } = this.style(group, index);
        return { stroke: () => ink()[colour] || colour, dash, width: 1, points: { show: false } };
      })],
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false }, sync: { key: 'lb', setSeries: false, scales: ['x', null] } },
      hooks: { drawClear: [(plot) => this.mark(group, plot)], setCursor: [(plot) => this.label(group, element, plot)] },
    }, [group.t, ...group.v], element.lastElementChild);
    const point = (event) => this.timeline.setCursor(plot.posToVal(event.offsetX, 'x'));
    plot.over.addEventListener('pointerdown', point);
    plot.over.addEventListener('pointermove', (event) => { if (event.buttons) point(event); });
    return plot;
  }

  setCursor(t) {
    this.cursor = t;
    for (const { group, element, plot } of this.rows) { plot.redraw(false); this.label(group, element, plot); }
  }

  label(group, element, plot) { // the newest value of each channel at the moment
    const t = plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, 'x') : this.cursor;
    if (t === null) return;
    const at = lbFind(group.t, t);
    const names = group.labels.length > LB_LINES.length ? group.labels.slice(-1) : group.labels;
    const words = names.map((label) => `${label} ${lbShort(group.v[group.labels.indexOf(label)][at])}`);
    const text = `${t.toFixed(1)} s · ${words.join(' · ')}`;
    const place = element.querySelector('.lb-label');
    if (place.textContent !== text) place.textContent = text;
  }

  mark({ window_s }, plot) { // the window that ends at the moment, below the lines
    if (this.cursor === null) return;
    const pen = plot.ctx, { left, top, width, height } = plot.bbox;
    const x = (t) => Math.min(left + width, Math.max(left, plot.valToPos(t, 'x', true)));
    const begin = x(this.cursor - window_s), end = x(this.cursor);
    pen.save();
    pen.globalAlpha = 0.22; pen.fillStyle = this.timeline.ink.focus;
    pen.fillRect(begin, top, Math.max(1, end - begin), height);
    pen.globalAlpha = 1; pen.strokeStyle = this.timeline.ink.focus; pen.lineWidth = 1.5 * uPlot.pxRatio;
    pen.beginPath(); pen.moveTo(end, top); pen.lineTo(end, top + height); pen.stroke();
    pen.restore();
  }
}

function lbShort(value) { // a number in few letters
  if (value === null || value === undefined) return '–';
  return String(Number(value.toPrecision(Math.abs(value) >= 100 ? 3 : 2)));
}

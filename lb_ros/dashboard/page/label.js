// Labels of a recording: stretches of time in which a predicate is true, false or unclear, made by
// keys and buttons. Every finished stretch is sent to the server at once, which saves it.
'use strict';

const LB_LABEL_KEYS = { t: 'true', f: 'false', u: 'unclear' };
const LB_LABEL_BAND = [-0.6, -0.86];
const LB_LABEL_FLOOR = -0.9;
const LB_LABEL_HEIGHT = 106;
const LB_SCRUB_S = 0.1;
const LB_PLAY_MS = 80;

class LbLabels {
  // state: of the page. post(what, method, body), choose(row), pictures(): as in dashboard.js.
  constructor({ timeline, state, post, choose, pictures }) {
    Object.assign(this, { timeline, state, post, choose, pictures, active: false, playing: false, known: '', saving: Promise.resolve() });
    this.bar = document.querySelector('.lb-label-bar');
    const acts = { play: () => this.play(), undo: () => this.undo(), remove: () => this.remove() };
    for (const button of this.bar.querySelectorAll('button')) {
      button.addEventListener('click', (event) => {
        if (button.dataset.step) this.scrub(Number(button.dataset.step)); else acts[button.dataset.act]();
        if (event.detail) button.blur(); // after a click, the space bar plays again
      });
    }
  }

  begin(path) {
    Object.assign(this, { active: true });
    Object.assign(this.timeline, { floor: LB_LABEL_FLOOR, height: LB_LABEL_HEIGHT, step: LB_SCRUB_S, paint: (row, plot, pen, x) => this.paint(row, plot, pen, x) });
    document.body.classList.add('lb-labelling');
    this.bar.hidden = false;
    this.tell(`labels are saved in ${path}`);
  }

  tell(text, bad = false) {
    const said = this.bar.querySelector('output');
    said.textContent = text;
    said.dataset.bad = bad ? '1' : '0';
  }

  take(labels) { // {name: [[start, end, word], ...]}
    for (const name of Object.keys(labels)) this.timeline.row(name);
    for (const row of this.timeline.rows.values()) { row.labels = labels[row.name] ?? []; this.offer(row); }
    if (!this.state.chosen && this.timeline.rows.size) this.choose(this.timeline.rows.values().next().value);
    if (this.state.at === null && this.state.now > 0) {
      this.timeline.show(0, Math.max(this.state.now, 1));
      this.timeline.end = Math.max(this.timeline.end, this.state.now);
      this.timeline.setCursor(this.state.start ?? 0);
      this.state.start = null;
    }
    this.timeline.end = Math.max(this.timeline.end, this.state.now);
    const known = JSON.stringify(labels);
    if (known !== this.known) this.refresh();
    this.known = known;
  }

  offer(row) { // buttons that begin and end a stretch
    if (row.marks) return;
    row.marks = document.createElement('span');
    row.marks.className = 'lb-teach lb-marks';
    row.marks.setAttribute('role', 'group');
    row.marks.setAttribute('aria-label', `label: ${row.name}`);
    for (const [key, word] of Object.entries(LB_LABEL_KEYS)) {
      const button = document.createElement('button');
      button.textContent = button.dataset.word = word;
      button.title = `begin a stretch that is ${word}, or end it (${key})`;
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', (event) => { this.press(row, word); if (event.detail) button.blur(); });
      row.marks.append(button);
    }
    row.told = document.createElement('span');
    row.told.className = 'lb-marked';
    row.element.querySelector('header').insertBefore(row.marks, row.why ?? row.button ?? null);
    row.element.querySelector('header').insertBefore(row.told, row.marks);
    row.element.addEventListener('pointerdown', () => this.choose(row));
    row.element.addEventListener('focusin', () => this.choose(row));
  }

  get moment() { return this.state.at ?? 0; }

  press(row, word) { // the first press begins a stretch, the next one ends it; another word goes on from there
    const t = Number(this.moment.toFixed(3)), open = row.open;
    row.open = open && open.word === word ? null : { word, start: t };
    if (open && (open.word === word || open.start !== t)) this.save(row, open, t);
    else this.tell(`${row.name}: ${word} from ${t.toFixed(1)} s; move, then press ${word} again to end it`);
    this.refresh();
  }

  save(row, open, end) {
    const body = { name: row.name, truth: open.word, start: open.start, end };
    this.send('POST', body, row, () => { row.open ??= open; }); // a stretch that was not saved is still open
  }

  remove() {
    const row = this.state.chosen;
    if (!row) return;
    if (row.open) this.cancel(row); else this.send('DELETE', { name: row.name, t: this.moment }, row);
  }

  undo() {
    const row = this.state.chosen;
    if (row?.open) this.cancel(row); else this.send('DELETE', {}, null);
  }

  cancel(row) {
    if (!row?.open) return;
    this.tell(`${row.name}: ${row.open.word} from ${row.open.start.toFixed(1)} s was not saved`);
    row.open = null;
    this.refresh();
  }

  send(method, body, row, failed = () => {}) { // one after the other
    this.saving = this.saving.then(async () => {
      try {
        const answer = await this.post('label', method, body);
        if (!answer.ok) throw new Error(await answer.text());
        const { said, labels } = await answer.json();
        this.take(labels);
        this.tell(row ? `${row.name}: ${said}` : said);
      } catch (error) {
        failed();
        this.tell(error.message, true);
      }
      this.refresh();
    });
  }

  scrub(seconds) {
    this.timeline.setCursor(Math.min(this.timeline.end, Math.max(0, this.moment + seconds)));
  }

  async play() {
    this.playing = !this.playing;
    const button = this.bar.querySelector('[data-act=play]');
    button.textContent = this.playing ? 'Pause' : 'Play';
    let last = performance.now();
    if (this.playing && this.moment >= this.timeline.end) this.state.at = 0;
    while (this.playing) {
      await new Promise((done) => { setTimeout(done, LB_PLAY_MS); });
      if (!this.playing) return;
      const now = performance.now(), t = Math.min(this.timeline.end, this.moment + (now - last) / 1000);
      last = now;
      this.timeline.setCursor(t, { tell: false });
      this.state.at = t;
      this.moved(t);
      await this.pictures(); // of one moment before the next, however slow the line is
      if (t >= this.timeline.end) { this.playing = false; button.textContent = 'Play'; }
    }
  }

  moved(t) { // the shown part of a long recording follows the moment
    const { from, to } = this.timeline, span = to - from;
    if (t < from || t > to) this.timeline.show(Math.max(0, t - span / 2), Math.max(0, t - span / 2) + span);
    this.describe();
  }

  onKey(event) { // whether the key was one of these
    if ((event.ctrlKey || event.metaKey) && event.key === 'z') this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return false;
    else if (LB_LABEL_KEYS[event.key] && this.state.chosen?.element.isConnected) this.press(this.state.chosen, LB_LABEL_KEYS[event.key]);
    else if (event.key === 'z') this.undo();
    else if (event.key === 'x' || event.key === 'Delete') this.remove();
    else if (event.key === 'Escape') this.cancel(this.state.chosen);
    else if (event.key === ' ' && event.target.tagName !== 'BUTTON') this.play();
    else if (['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key)) { if (!event.defaultPrevented) this.timeline.onKey(event); }
    else return false;
    event.preventDefault();
    return true;
  }

  refresh() { this.describe(); this.timeline.redraw(true); }

  describe() { // in words, next to each name
    const t = this.moment;
    for (const row of this.timeline.rows.values()) {
      if (!row.marks) continue;
      const { open } = row, here = (row.labels ?? []).filter(([start, end]) => (start <= t && t < end) || (start === t && end === t)).pop();
      const said = here ? `${here[2]} ${here[0].toFixed(1)} to ${here[1].toFixed(1)} s` : row.labels?.length ? 'not labelled here' : 'no labels';
      row.told.textContent = open ? `${open.word} from ${open.start.toFixed(1)} s …` : said;
      for (const button of row.marks.children) button.setAttribute('aria-pressed', String(open?.word === button.dataset.word));
    }
  }

  // True is filled, false an empty box, unclear hatched; an open stretch is dashed.
  paint(row, plot, pen, x) {
    const y = plot.valToPos(LB_LABEL_BAND[0], 'y', true), tall = plot.valToPos(LB_LABEL_BAND[1], 'y', true) - y;
    for (const [start, end, word] of row.labels ?? []) this.box(pen, word, x(start), y, Math.max(3 * uPlot.pxRatio, x(end) - x(start)), tall);
    if (!row.open) return;
    const ends = [x(row.open.start), x(this.moment)].sort((one, other) => one - other);
    pen.setLineDash([4, 3]);
    this.box(pen, row.open.word, ends[0], y, Math.max(3 * uPlot.pxRatio, ends[1] - ends[0]), tall);
    pen.setLineDash([]);
  }

  box(pen, word, left, y, wide, tall) {
    pen.strokeStyle = pen.fillStyle = this.timeline.ink.label;
    pen.lineWidth = 1.5 * uPlot.pxRatio;
    pen.strokeRect(left, y, wide, tall);
    if (word === 'true') pen.fillRect(left, y, wide, tall);
    if (word !== 'unclear') return;
    pen.beginPath();
    for (let at = left - tall; at < left + wide; at += 6 * uPlot.pxRatio) {
      const from = Math.max(left, at), to = Math.min(left + wide, at + tall);
      pen.moveTo(from, y + tall - (from - at)); pen.lineTo(to, y + tall - (to - at));
    }
    pen.stroke();
  }
}

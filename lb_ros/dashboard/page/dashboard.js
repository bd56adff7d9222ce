// The dashboard: polls the server for updates, draws them, and navigates the last minutes.
'use strict';

const POLL_MS = 200;
const PICTURE_MS = 500;
const KEEP_S = 600;
const HOLD_S = 0.4; // a button held for longer labels a stretch of time
const TEACH_KEYS = { t: 'true', f: 'false', u: 'undo' };
const query = new URLSearchParams(location.search);
const session = query.get('bag') ? `bag=${encodeURIComponent(query.get('bag'))}&` : '';
const part = (selector) => document.querySelector(selector);
const state = {
  sequence: 0, now: 0, heard: 0, live: true, paused: false, at: null, span: 60, asking: new Set(), asked: new Set(), figures: new Map(),
  why: [], explained: null, chosen: null, start: query.get('at') === null ? null : Number(query.get('at')), shown: new Map(),
};
const timeline = new LbTimeline(part('#rows'), { onMoment: (t) => stopAt(t) });
const labels = new LbLabels({ timeline, state, post, choose, pictures: () => showPictures() });
window.lb = { state, timeline, labels };

function tell(text, bad = false) {
  part('.lb-message').textContent = text;
  part('.lb-message').dataset.bad = bad ? '1' : '0';
}

function pause(paused) {
  state.paused = paused;
  part('#pause').textContent = paused ? 'Go on' : 'Pause';
  part('#pause').setAttribute('aria-pressed', String(paused));
  if (!paused) { state.at = null; timeline.setCursor(null, { tell: false }); }
  explain();
}

function stopAt(t) { // pause at a chosen time and show the images of all sensors at that time
  if (t === null) return;
  if (!state.paused) pause(true);
  state.at = t;
  if (labels.active) labels.moved(t);
  showPictures();
  explain();
}

function present() { // the current time, advanced smoothly between two updates from the server
  return state.live ? state.now + Math.min(1, (performance.now() - state.heard) / 1000) : state.now;
}

function frame() {
  if (!state.paused) {
    const now = present();
    const span = state.span || Math.max(1, now);
    timeline.show(Math.max(0, now - span), Math.max(now, 1));
  }
  requestAnimationFrame(frame);
}

async function pull() {
  if (state.pulling) { state.again = true; return; }
  state.pulling = true;
  try {
    const answer = await fetch(`/api/updates?${session}since=${state.sequence}`);
    if (!answer.ok) throw new Error(await answer.text());
    take(await answer.json());
  } catch (error) {
    tell(`no answer from lb-ros dashboard: ${error.message}`, true);
    Object.assign(state, { told: null, refused: false });
  }
  state.pulling = false;
  if (state.again) { state.again = false; await pull(); }
}

async function poll() {
  const began = performance.now();
  if (!document.hidden) await pull();
  const pause = state.live || state.now === 0 ? POLL_MS : 1000;
  setTimeout(poll, Math.max(20, pause - (performance.now() - began)));
}

function take(news) {
  if (news.sequence < state.sequence) location.reload(); // the server has restarted
  Object.assign(state, { sequence: news.sequence, live: news.live, heard: performance.now() });
  if (!news.live && news.now !== state.now) { state.span = 0; part('#span').value = '0'; }
  state.now = Math.max(state.now, news.now);
  showProgress(news);
  timeline.append(news.lines);
  settle(news.questions, news.taught);
  state.why = news.why;
  for (const row of timeline.rows.values()) {
    if (news.teaches) offerTeaching(row);
    if (news.why.length) offerWhy(row);
  }
  if (news.labels) labels.take(news.labels);
  lbLegend(part('.lb-legend'), timeline);
  if (news.live) timeline.forgetBefore(state.now - KEEP_S);
  const gauges = JSON.stringify(news.gauges);
  if (gauges !== state.gauges) part('.lb-gauges').replaceChildren(...news.gauges.map((gauge) => {
    const item = document.createElement('li');
    item.dataset.level = gauge.level;
    item.textContent = `${gauge.name}: ${gauge.text}`;
    return item;
  }));
  state.gauges = gauges;
  for (const modality of news.modalities) figure(modality);
  if (state.start !== null && news.lines.length) {
    timeline.show(0, Math.max(state.now, 1));
    timeline.setCursor(state.start);
    state.start = null;
  }
}

function showProgress({ message, progress }) {
  const bar = part('progress');
  bar.hidden = progress === null;
  bar.value = progress ?? 0;
  const waiting = timeline.rows.size || !state.live ? '' : 'no scores have arrived yet';
  const told = progress === null ? message || waiting : `${message}: ${(100 * progress).toFixed(0)} %`;
  if (state.refused) return; // why a question was refused stays until the next one
  if (told !== state.told) tell(told);
  state.told = told;
}

function post(what, method, body) {
  const headers = { 'Content-Type': 'application/json' };
  return fetch(`/api/${what}?${session}`, { method, headers, body: JSON.stringify(body) });
}

function send(method, sentence) { return post('ask', method, { sentence }); }

function settle(questions, taught) { // show exactly the questions that the server answers, and what it teaches
  for (const name of questions) { if (!timeline.rows.get(name)?.button) mark(name); state.asked.add(name); }
  for (const name of state.asked) {
    if (questions.includes(name) || state.asking.has(name)) continue;
    state.asked.delete(name);
    if (taught.includes(name)) { timeline.rows.get(name)?.button?.remove(); continue; } // the robot's own now
    timeline.remove(name);
  }
}

function mark(name) { // mark a row as a question, which can be removed
  const row = timeline.row(name);
  row.button = document.createElement('button');
  row.button.textContent = '×';
  row.button.title = 'remove this question';
  row.button.setAttribute('aria-label', `remove: ${name}`);
  row.button.addEventListener('click', async () => {
    const answer = await send('DELETE', name);
    if (answer.ok) timeline.remove(name); else tell(await answer.text(), true);
  });
  row.element.querySelector('header').append(row.button);
  timeline.root.prepend(row.element);
  return row;
}

function offerWhy(row) { // a button that shows where the sensors' readouts look for a predicate
  if (row.why) return;
  row.why = document.createElement('button');
  row.why.className = 'lb-ask-why';
  row.why.textContent = 'why?';
  row.why.setAttribute('aria-label', `why: ${row.name}`);
  row.why.setAttribute('aria-expanded', 'false');
  row.why.addEventListener('click', () => openWhy(state.explained === row ? null : row));
  row.element.querySelector('header').append(row.why);
}

function openWhy(row) { // one at a time, because each image asks the robot
  if (state.explained) {
    state.explained.element.querySelector('.lb-why')?.remove();
    state.explained.why.setAttribute('aria-expanded', 'false');
  }
  state.explained = row;
  if (!row) return;
  row.why.setAttribute('aria-expanded', 'true');
  const panel = document.createElement('aside');
  panel.className = 'lb-why';
  panel.setAttribute('aria-label', `where the sensors look: ${row.name}`);
  row.element.querySelector('header').after(panel);
  for (const modality of state.why) whyFigure(panel, modality);
  explain();
}

async function explain() { // images of the shown moment with the attention to the opened predicate
  const row = state.explained, at = state.at;
  const panel = row?.element.querySelector('.lb-why');
  if (!panel || !row.element.isConnected) return;
  const moment = at === null ? '' : `&t=${at.toFixed(3)}`;
  await Promise.all(state.why.map(async (modality) => {
    const answer = await fetch(`/api/why/${modality}?${session}name=${encodeURIComponent(row.name)}${moment}`);
    const [body, time] = [await answer.blob(), Number(answer.headers.get('X-Time'))];
    const reason = answer.ok ? '' : await body.text();
    if (state.explained !== row || at !== state.at) return;
    const made = whyFigure(panel, modality), image = made.querySelector('img');
    const before = image.src;
    if (answer.ok) image.src = URL.createObjectURL(body); else image.removeAttribute('src');
    if (before) URL.revokeObjectURL(before);
    image.hidden = !answer.ok;
    image.alt = `${modality} at ${time.toFixed(1)} seconds: where the readout looks for ${row.name}`;
    made.querySelector('figcaption').textContent = answer.ok ? `${modality} · ${time.toFixed(1)} s` : `${modality}: ${reason}`;
  }));
}

function choose(row) { // the row that keys are about
  state.chosen?.element.classList.remove('lb-chosen');
  state.chosen = row;
  row.element.classList.add('lb-chosen');
}

function chooseNext(step) {
  const rows = [...timeline.root.children].map((element) => element.lbRow);
  const row = rows[Math.min(rows.length - 1, Math.max(0, rows.indexOf(state.chosen) + step))];
  if (!row) return;
  choose(row);
  row.element.scrollIntoView({ block: 'nearest' });
}

function offerTeaching(row) { // buttons that say what is true at the shown moment
  if (row.teach) return;
  row.teach = document.createElement('span');
  row.teach.className = 'lb-teach';
  row.teach.setAttribute('role', 'group');
  row.teach.setAttribute('aria-label', `teach: ${row.name}`);
  let began = 0;
  for (const [key, word] of Object.entries(TEACH_KEYS)) {
    const button = document.createElement('button');
    button.textContent = word;
    button.title = word === 'undo' ? 'undo the last press (u)' : `it is ${word} at this moment (${key}); hold for a stretch of time`;
    button.addEventListener('pointerdown', () => { began = performance.now(); });
    button.addEventListener('click', (event) => teach(row, word, event.detail ? (performance.now() - began) / 1000 : 0));
    row.teach.append(button);
  }
  row.element.querySelector('header').insertBefore(row.teach, row.why ?? row.button ?? null);
  row.element.addEventListener('pointerdown', () => choose(row));
  row.element.addEventListener('focusin', () => choose(row));
}

function shownMoment() { // null is now
  return state.at ?? (state.live && !state.paused ? null : Math.min(timeline.to, state.now));
}

function teach(row, word, heldS = 0) { // one after the other, each about the moment at which it was pressed
  const t = shownMoment(), held = t === null && heldS >= HOLD_S ? heldS : 0, pressed = performance.now();
  const undo = word === 'undo';
  const body = undo ? { name: row.name } : { name: row.name, truth: word === 'true', t, seconds: held };
  row.presses = (row.presses ?? 0) + 1;
  row.teach.setAttribute('aria-busy', 'true');
  row.learning = (row.learning ?? Promise.resolve()).then(async () => {
    body.ago = (performance.now() - pressed) / 1000; // it may have waited for the press before
    await learn(row, undo ? 'DELETE' : 'POST', body);
    row.presses -= 1;
    row.teach.setAttribute('aria-busy', String(row.presses > 0));
  });
}

async function learn(row, method, body) {
  try {
    const answer = await post('teach', method, body);
    if (!answer.ok) throw new Error(await answer.text());
    showLesson(row, await answer.json());
    Object.assign(state, { told: null, refused: false });
    tell('');
    pull();
  } catch (error) {
    tell(error.message, true);
    state.refused = true;
  }
}

function showLesson(row, learned) { // what a predicate knows, and what to press next
  row.lesson ??= document.createElement('p');
  row.lesson.className = 'lb-lesson';
  row.lesson.setAttribute('role', 'status');
  const parts = [`${learned.true_presses} true, ${learned.false_presses} false`];
  if (learned.left_out !== null) parts.push(`${learned.left_out.toFixed(2)} [${learned.low.toFixed(2)}, ${learned.high.toFixed(2)}] left out`);
  if (learned.sensors.length) parts.push(learned.sensors.map(([name, share]) => `${name} ${(100 * share).toFixed(0)} %`).join(', '));
  if (learned.next_s === null && learned.next) parts.push(learned.next);
  row.lesson.textContent = parts.join(' · ');
  if (learned.next_s !== null) {
    const button = document.createElement('button');
    button.textContent = `least certain: ${learned.next_s.toFixed(1)} s`;
    button.addEventListener('click', () => timeline.setCursor(learned.next_s));
    row.lesson.append(' · ', button);
  }
  row.element.querySelector('header').after(row.lesson);
}

function whyFigure(panel, modality) {
  let made = panel.querySelector(`[data-modality="${modality}"]`);
  if (made) return made;
  made = document.createElement('figure');
  made.dataset.modality = modality;
  made.innerHTML = '<img alt="" hidden><figcaption></figcaption>';
  panel.append(made);
  return made;
}

function figure(modality) {
  if (!state.figures.has(modality)) {
    const made = document.createElement('figure');
    made.innerHTML = '<img alt=""><figcaption></figcaption>';
    part('.lb-sensors').append(made);
    state.figures.set(modality, made);
    showPictures();
  }
  return state.figures.get(modality);
}

async function showPictures() {
  const at = state.at;
  part('.lb-time').textContent = at === null ? (state.live ? 'live' : '') : `${at.toFixed(1)} s`;
  await Promise.all([...state.figures.keys()].map(async (modality) => {
    const moment = at === null ? '' : `&t=${at.toFixed(3)}`;
    // Whoever asks for news says that the server is gone.
    const answer = await fetch(`/api/picture/${modality}?${session}${moment}`).catch(() => null);
    if (!answer?.ok || at !== state.at) return;
    const time = Number(answer.headers.get('X-Time'));
    if (state.shown.get(modality) === time) return;
    state.shown.set(modality, time);
    const image = figure(modality).querySelector('img');
    const before = image.src;
    image.src = URL.createObjectURL(await answer.blob());
    if (before) URL.revokeObjectURL(before);
    image.alt = `${modality} at ${time.toFixed(1)} seconds`;
    figure(modality).querySelector('figcaption').textContent = `${modality} · ${time.toFixed(1)} s`;
  }));
}

part('#ask').addEventListener('submit', async (event) => {
  event.preventDefault();
  const sentence = part('#sentence').value.trim().replace(/\s+/g, ' ');
  if (!sentence || state.asking.has(sentence)) return;
  const known = timeline.rows.has(sentence);
  const row = known ? timeline.row(sentence) : mark(sentence);
  choose(row);
  row.element.classList.toggle('lb-pending', !known);
  state.asking.add(sentence);
  part('#sentence').value = '';
  try {
    const answer = await send('POST', sentence);
    if (!answer.ok) throw new Error(await answer.text());
    tell('');
    Object.assign(state, { told: null, refused: false });
    await pull();
  } catch (error) {
    tell(error.message, true);
    state.refused = true;
    if (!known) timeline.remove(sentence);
    part('#sentence').value ||= sentence;
  }
  state.asking.delete(sentence);
  row.element.classList.remove('lb-pending');
});
part('#pause').addEventListener('click', () => pause(!state.paused));
part('#span').addEventListener('change', (event) => {
  state.span = Number(event.target.value);
  const end = state.at === null ? state.now : Math.min(state.now, state.at + state.span / 2);
  timeline.show(state.span ? Math.max(0, end - state.span) : 0, Math.max(end, state.span ? end : state.now));
});
document.addEventListener('keydown', (event) => {
  const typing = ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName);
  if (!typing && labels.active && labels.onKey(event)) return;
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const word = TEACH_KEYS[event.key];
  if (event.key === ' ' && event.target.tagName !== 'BUTTON') pause(!state.paused);
  else if (event.key === '/') part('#sentence').focus();
  else if (event.key === 'ArrowUp') chooseNext(-1);
  else if (event.key === 'ArrowDown') chooseNext(1);
  else if (word && state.chosen?.teach && state.chosen.element.isConnected) teach(state.chosen, word);
  else if (word) tell('choose a timeline first: click it, or press the arrow keys up and down');
  else return;
  event.preventDefault();
});
fetch(`/api/session?${session}`).then((answer) => answer.json()).then((about) => {
  document.title = `${about.title} · lb-ros`;
  part('h1').textContent = about.title;
  state.live = about.live;
  if (about.labels) labels.begin(about.labels);
  if (!about.live) { state.span = 0; part('#span').value = '0'; part('#pause').hidden = true; }
  poll();
  requestAnimationFrame(frame);
  setInterval(() => { if (!state.paused && !document.hidden && state.live) { showPictures(); explain(); } }, PICTURE_MS);
});

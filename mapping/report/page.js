'use strict';

// The page works on one state. Controls and the address (#date=3&overlay=moment&fade=60) change
// it, show() brings the page in line with it, keep() writes it into the address.
(() => {
  const find = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const report = JSON.parse(find('report-data').textContent);
  const T = report.dates.length;
  const NO_DATA = 255;
  const MOST_EDGES = 150000; // of outlines; a browser draws no more of them smoothly
  const everyMoment = Array.from({ length: T - 1 }, (_, index) => index + 1);
  const kinds = all('input[name="kind"]');
  const filters = all('[data-moments]').map((element) => (
    { element, moments: element.dataset.moments.split(',').map(Number) }));
  const images = all('#picture img[data-date]');
  const frame = find('frame');
  const picture = find('picture');
  const has = (id, use) => { const element = find(id); if (element) use(element); };
  let codes = null; // Uint8Array: the change moment, then the score, row by row
  let state = readAddress();
  let playing = 0;
  let keeping = 0;
  let painted = '';

  function wholeNumber(text, low, high, fallback) {
    const number = /^\d{1,4}$/.test(text || '') ? Number(text) : NaN;
    return number >= low && number <= high ? number : fallback;
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const named = report.dates.indexOf(given.get('date')) + 1; // also by its name, 2018-05-01
    const zoom = wholeNumber(given.get('zoom'), 1, 99, 1);
    const hidden = (given.get('hide') || '').split(',').map((text) => wholeNumber(text, 1, T - 1, 0));
    return {
      date: named || wholeNumber(given.get('date'), 1, T, report.start),
      kind: kinds.some((input) => input.value === given.get('overlay')) ? given.get('overlay') : 'moment',
      fade: wholeNumber(given.get('fade'), 0, 100, report.fade),
      swipe: given.get('swipe') === 'off' ? null : wholeNumber(given.get('swipe'), 0, 100, report.swipe),
      zoom: report.zooms.includes(zoom) ? zoom : 1,
      hidden: new Set(hidden.filter((moment) => moment > 0)),
    };
  }

  function keep() {
    const parts = ['date=' + state.date, 'overlay=' + state.kind, 'fade=' + state.fade];
    if (state.swipe !== report.swipe) parts.push('swipe=' + (state.swipe === null ? 'off' : state.swipe));
    if (state.zoom !== 1) parts.push('zoom=' + state.zoom);
    if (state.hidden.size) parts.push('hide=' + [...state.hidden].sort((a, b) => a - b).join(','));
    try {
      history.replaceState(null, '', '#' + parts.join('&'));
    } catch (error) {
      // a browser that allows no change of the address shows the page all the same
    }
  }

  function change(changes) {
    Object.assign(state, changes);
    show();
    clearTimeout(keeping); // browsers limit how often an address may change
    keeping = setTimeout(keep, 150);
  }

  function isShown(moment) {
    if (state.kind === 'none' || state.hidden.has(moment)) return false;
    return state.kind !== 'until' || moment < state.date; // interval k ends at the date k + 1
  }

  function show() {
    const day = report.dates[state.date - 1];
    const label = report.labels[state.date - 1];
    images.forEach((image, index) => { image.hidden = !(index === state.date - 1 || isBehind(index)); });
    kinds.forEach((input) => { input.checked = input.value === state.kind; });
    find('fill').style.opacity = state.fade / 100;
    find('fill').setAttribute('aria-label', mapText());
    find('fade').value = state.fade;
    find('right').textContent = label;
    find('date-printed').textContent = day;
    has('date', (input) => { input.value = state.date; input.setAttribute('aria-valuetext', day); });
    has('date-shown', (output) => { output.textContent = label; });
    has('previous', (button) => { button.disabled = state.date === 1; });
    has('next', (button) => { button.disabled = state.date === T; });
    has('gaps', (gaps) => { gaps.hidden = state.kind === 'none'; });
    has('ramp', (ramp) => { ramp.hidden = state.kind !== 'score'; });
    showFilter();
    showZoom();
    showSwipe();
    paint();
  }

  // ───────────────────────────── intervals: bar, legend and filter ─────────────────────────────

  // Choosing one of all shows it alone; a further one is added, the last one gives back all.
  function choose(moments) {
    const { hidden } = state;
    const shown = everyMoment.filter((moment) => !hidden.has(moment));
    let next = new Set(moments.every((moment) => shown.includes(moment))
      ? shown.filter((moment) => !moments.includes(moment)) : [...shown, ...moments]);
    if (!hidden.size) next = new Set(moments);
    change({ hidden: new Set(next.size ? everyMoment.filter((moment) => !next.has(moment)) : []) });
  }

  function showFilter() {
    filters.forEach(({ element, moments }) => {
      const off = moments.some((moment) => state.hidden.has(moment));
      element.classList.toggle('off', off);
      element.classList.toggle('later', state.kind === 'until' && moments.every((moment) => moment >= state.date));
      if (element.matches('button')) element.setAttribute('aria-pressed', String(!off));
    });
    const shown = everyMoment.filter((moment) => !state.hidden.has(moment));
    has('all', (button) => { button.hidden = !state.hidden.size; });
    has('filter', (output) => { output.textContent = state.hidden.size ? 'Shown: ' + sizeOf(shown) : 'Choose an interval to see it alone.'; });
  }

  function sizeOf(moments) {
    const names = moments.length === 1 ? report.texts[moments[0]] : moments.length + ' intervals';
    const sizes = moments.map((moment) => report.sizes[moment]);
    if (sizes.some((size) => typeof size !== 'number')) return names;
    const sum = Number(sizes.reduce((a, b) => a + b, 0).toPrecision(3));
    return names + ', ' + sum.toLocaleString('en', { maximumFractionDigits: 6 }) + ' ' + report.unit;
  }

  function mapText() {
    if (state.kind === 'score') return report.strength + ' of change, ' + report.least + ' to 100' + report.percent;
    const texts = everyMoment.filter(isShown).map((moment) => report.texts[moment]);
    return 'Change map: ' + (texts.length ? texts.join('; ') : 'no interval is shown');
  }

  // ──────────────────────────────── the map over the image ────────────────────────────────

  function paint() {
    const key = [state.kind, state.kind === 'until' && state.date, [...state.hidden]].join();
    if (!codes || key === painted) return;
    painted = key;
    const { width, height, colors, scores } = report;
    const brush = find('fill').getContext('2d');
    const pixels = brush.createImageData(width, height);
    for (let place = 0; place < width * height; place += 1) {
      const moment = codes[place];
      let color = null;
      if (state.kind === 'score') {
        color = scores[codes[width * height + place] - report.least];
      } else if (moment && isShown(moment)) {
        color = colors[moment];
      }
      if (color) pixels.data.set([...color, 255], 4 * place);
    }
    brush.putImageData(pixels, 0, 0);
    all('#outlines g').forEach((group) => {
      group.style.display = isShown(Number(group.dataset.outline)) ? '' : 'none';
    });
  }

  // Edges of each interval's regions, as long lines: its colour on white on dark, so that it is
  // seen on forest and on bright soil.
  function outline() {
    const { width, height, colors } = report;
    const at = (row, column) => (row < 0 || column < 0 || row >= height || column >= width
      ? 0 : codes[row * width + column]);
    const parts = new Map();
    let edges = 0;
    const edge = (moment, text) => {
      if (!moment || moment === NO_DATA) return;
      if (!parts.has(moment)) parts.set(moment, []);
      parts.get(moment).push(text);
      edges += 1;
    };
    const follow = (lines, length, pair, text) => {
      for (let line = 0; line <= lines; line += 1) {
        for (const side of [0, 1]) {
          let start = 0;
          let last = 0;
          for (let step = 0; step <= length; step += 1) {
            const both = step < length ? pair(line, step) : [0, 0];
            const moment = both[0] === both[1] ? 0 : both[side];
            if (moment === last) continue;
            edge(last, text(line, start, step - start));
            start = step;
            last = moment;
          }
        }
      }
    };
    follow(height, width, (row, column) => [at(row - 1, column), at(row, column)],
      (row, column, length) => 'M' + column + ' ' + row + 'h' + length);
    follow(width, height, (column, row) => [at(row, column - 1), at(row, column)],
      (column, row, length) => 'M' + column + ' ' + row + 'v' + length);
    if (edges > MOST_EDGES) return;
    const name = 'http://www.w3.org/2000/svg';
    parts.forEach((lines, moment) => {
      const group = document.createElementNS(name, 'g');
      group.dataset.outline = moment;
      for (const [color, wide] of [['rgba(0,0,0,0.4)', 5.4], ['#fff', 4], ['rgb(' + colors[moment] + ')', 1.3]]) {
        const path = document.createElementNS(name, 'path');
        path.setAttribute('d', lines.join(''));
        path.setAttribute('stroke', color);
        path.setAttribute('stroke-width', wide);
        group.append(path);
      }
      find('outlines').append(group);
    });
  }

  // The codes travel as bytes, not as a picture, since some browsers blur the pixels that a page
  // reads back.
  async function unpack() {
    if (!('DecompressionStream' in window)) {
      find('readout').textContent = 'This browser is too old to show the change map.';
      return;
    }
    const packed = Uint8Array.from(atob(report.codes), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
    codes = new Uint8Array(await new Response(stream).arrayBuffer());
    outline();
    paint();
    connectReadout();
  }

  // ─────────────────────────────────── swipe and zoom ───────────────────────────────────

  function isBehind(index) {
    return state.swipe !== null && index === report.first - 1;
  }

  function showSwipe() {
    const on = state.swipe !== null;
    find('compare').setAttribute('aria-pressed', String(on));
    ['swipe', 'divider', 'left'].forEach((id) => { find(id).hidden = !on; });
    find('left').textContent = report.labels[report.first - 1];
    find('swipe').value = on ? state.swipe : 50;
    find('swipe').setAttribute('aria-valuetext', (on ? state.swipe : 50) + ' % of the first image');
    find('divider').style.left = state.swipe + '%';
    const edge = (frame.scrollLeft + frame.clientWidth * state.swipe / 100) / picture.clientWidth;
    images.forEach((image, index) => {
      const over = on && index === state.date - 1 && !isBehind(index);
      image.style.clipPath = over ? 'inset(0 0 0 ' + 100 * edge + '%)' : '';
      image.style.zIndex = over ? 1 : 0;
    });
  }

  function showZoom() {
    const step = report.zooms.indexOf(state.zoom);
    const before = Number(picture.style.getPropertyValue('--zoom') || 1);
    const middle = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    picture.style.setProperty('--zoom', state.zoom);
    if (before !== state.zoom) { // what was in the middle stays there
      frame.scrollLeft = middle[0] * state.zoom / before - frame.clientWidth / 2;
      frame.scrollTop = middle[1] * state.zoom / before - frame.clientHeight / 2;
    }
    const large = state.zoom > 1;
    frame.classList.toggle('large', large);
    if (large) frame.tabIndex = 0; else frame.removeAttribute('tabindex');
    find('zoom-out').disabled = step === 0;
    find('zoom-in').disabled = step === report.zooms.length - 1;
    showSizes();
  }

  // The scale bar, and sharp edges of pixels where they are larger than those of the screen.
  function showSizes() {
    picture.classList.toggle('enlarged', picture.clientWidth * window.devicePixelRatio > report.width);
    if (!report.scale) return;
    const { text, percent } = report.scale[report.zooms.indexOf(state.zoom)];
    find('scale-bar').style.width = percent + '%';
    find('scale-text').textContent = text;
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(() => change({ date: state.date % T + 1 }), 900) : 0;
    has('play', (button) => {
      button.textContent = on ? 'Pause' : 'Play';
      button.setAttribute('aria-pressed', String(on));
    });
  }

  function go(date) {
    play(false);
    change({ date: Math.min(Math.max(date, 1), T) });
  }

  // ────────────────────────────────────── controls ──────────────────────────────────────

  function connect() {
    const click = (id, use) => has(id, (element) => element.addEventListener('click', use));
    has('date', (input) => input.addEventListener('input', () => go(Number(input.value))));
    click('previous', () => go(state.date - 1));
    click('next', () => go(state.date + 1));
    click('play', () => play(!playing));
    click('compare', () => {
      play(false);
      change(state.swipe === null ? { swipe: 50, date: report.last } : { swipe: null });
    });
    click('all', () => change({ hidden: new Set() }));
    find('swipe').addEventListener('input', (event) => change({ swipe: Number(event.target.value) }));
    find('fade').addEventListener('input', (event) => change({ fade: Number(event.target.value) }));
    kinds.forEach((input) => input.addEventListener('change', () => change({ kind: input.value })));
    filters.forEach(({ element, moments }) => element.addEventListener('click', () => choose(moments)));
    const zoomBy = (steps) => report.zooms[report.zooms.indexOf(state.zoom) + steps] || state.zoom;
    click('zoom-in', () => change({ zoom: zoomBy(1) }));
    click('zoom-out', () => change({ zoom: zoomBy(-1) }));
    frame.addEventListener('scroll', showSwipe);
    window.addEventListener('resize', () => { showSizes(); showSwipe(); });
    window.addEventListener('hashchange', () => { play(false); state = readAddress(); show(); });
  }

  // Moving the enlarged map with the mouse; fingers and keys scroll it by themselves.
  function connectDragging() {
    let from = null;
    frame.addEventListener('pointerdown', (event) => {
      if (event.pointerType !== 'mouse' || event.button !== 0 || state.zoom === 1) return;
      from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
      frame.classList.add('moving');
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener('pointermove', (event) => {
      if (!from) return;
      frame.scrollLeft = from[0] - event.clientX;
      frame.scrollTop = from[1] - event.clientY;
    });
    const end = () => { from = null; frame.classList.remove('moving'); };
    frame.addEventListener('pointerup', end);
    frame.addEventListener('pointercancel', end);
    images.forEach((image) => { image.draggable = false; });
  }

  function connectReadout() {
    const readout = find('readout');
    const advice = readout.textContent = 'Point at the map to read a pixel.';
    const read = (event) => {
      const box = picture.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / box.width * report.width);
      const row = Math.floor((event.clientY - box.top) / box.height * report.height);
      const inside = column >= 0 && row >= 0 && column < report.width && row < report.height;
      readout.textContent = inside ? pixelText(row, column) : advice;
    };
    frame.addEventListener('pointermove', read);
    frame.addEventListener('pointerdown', read);
  }

  function pixelText(row, column) {
    const place = row * report.width + column;
    const moment = codes[place];
    const score = codes[report.width * report.height + place]; // undefined where there is none
    const texts = [report.texts[moment === NO_DATA ? T : moment]];
    if (score !== undefined && score !== NO_DATA) texts.push(report.strength.toLowerCase() + ' ' + score + report.percent);
    if (report.ground) {
      const [left, top, stepX, stepY, digits] = report.ground;
      const x = left + (column + 0.5) * stepX;
      const y = top + (row + 0.5) * stepY;
      texts.push('x ' + x.toFixed(digits) + ', y ' + y.toFixed(digits));
    }
    return texts.join(' · ');
  }

  connect();
  connectDragging();
  show();
  unpack();
})();

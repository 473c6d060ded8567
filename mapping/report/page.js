'use strict';

// The page works on one state. Controls and the address (#date=3&overlay=moment&fade=60) change
// it, show() brings the page in line with it, keep() writes it into the address.
(() => {
  const find = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const report = JSON.parse(find('report-data').textContent);
  const T = report.dates.length;
  const kinds = all('input[name="kind"]');
  const toggles = all('#legend-moment input');
  const images = all('#images img');
  const layers = all('#overlay img');
  const frame = find('frame');
  const state = readAddress();
  let codes = null; // Uint8Array: the change moment, then the score, row by row
  let playing = 0;
  let keeping = 0;

  function wholeNumber(text, low, high, fallback) {
    const number = /^\d{1,4}$/.test(text || '') ? Number(text) : NaN;
    return number >= low && number <= high ? number : fallback;
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const overlay = given.get('overlay');
    const isKind = kinds.some((input) => input.value === overlay);
    const named = report.dates.indexOf(given.get('date')) + 1; // also by its name, 2018-05-01
    const zoom = wholeNumber(given.get('zoom'), 1, 99, 1);
    const hidden = (given.get('hide') || '').split(',').map((text) => wholeNumber(text, 1, T - 1, 0));
    return {
      date: named || wholeNumber(given.get('date'), 1, T, T),
      kind: isKind ? overlay : 'moment',
      shown: overlay !== 'none',
      fade: wholeNumber(given.get('fade'), 0, 100, report.fade),
      image: given.get('image') !== 'off',
      zoom: report.zooms.includes(zoom) ? zoom : 1,
      hidden: new Set(hidden.filter((moment) => moment > 0)),
    };
  }

  function keep() {
    const parts = [
      'date=' + state.date,
      'overlay=' + (state.shown ? state.kind : 'none'),
      'fade=' + state.fade,
    ];
    if (!state.image) parts.push('image=off');
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

  function isMomentShown(moment) {
    if (state.kind === 'score' || state.hidden.has(moment)) return false;
    return state.kind === 'moment' || moment < state.date; // interval k ends at the date k + 1
  }

  function isLayerShown(layer) {
    if (layer.dataset.layer === 'no-data') return true;
    if (layer.dataset.layer === 'score') return state.kind === 'score';
    return isMomentShown(Number(layer.dataset.moment));
  }

  function overlayText() {
    if (state.kind === 'score') return 'Score of change, 0 to 100';
    const texts = report.texts.filter((text, moment) => moment > 0 && moment < T && isMomentShown(moment));
    return 'Change map: ' + (texts.length ? texts.join('; ') : 'no interval is shown');
  }

  function show() {
    const day = report.dates[state.date - 1];
    images.forEach((image, index) => { image.hidden = !state.image || index !== state.date - 1; });
    layers.forEach((layer) => { layer.hidden = !isLayerShown(layer); });
    const overlay = find('overlay');
    overlay.hidden = !state.shown;
    overlay.style.opacity = state.fade + '%';
    overlay.setAttribute('aria-label', overlayText());
    find('date').value = state.date;
    find('date').setAttribute('aria-valuetext', day);
    find('date-shown').textContent = day;
    find('date-printed').textContent = day;
    find('first').disabled = find('previous').disabled = state.date === 1;
    find('last').disabled = find('next').disabled = state.date === T;
    find('shown').checked = state.shown;
    find('image').checked = state.image;
    kinds.forEach((input) => {
      input.checked = input.value === state.kind;
      input.disabled = !state.shown;
    });
    find('fade').value = state.fade;
    find('fade').disabled = !state.shown;
    find('fade-shown').textContent = state.fade + ' %';
    showLegend();
    showZoom();
  }

  function showLegend() {
    const score = find('legend-score');
    if (score) score.hidden = state.kind !== 'score';
    find('legend-moment').hidden = state.kind === 'score';
    toggles.forEach((input) => {
      const moment = Number(input.dataset.moment);
      input.checked = !state.hidden.has(moment);
      const later = state.kind === 'until' && moment >= state.date;
      input.closest('li').classList.toggle('later', later);
    });
  }

  function showZoom() {
    const step = report.zooms.indexOf(state.zoom);
    const before = Number(find('picture').style.getPropertyValue('--zoom') || 1);
    const middle = [frame.scrollLeft + frame.clientWidth / 2, frame.scrollTop + frame.clientHeight / 2];
    find('picture').style.setProperty('--zoom', state.zoom);
    if (before !== state.zoom) { // what was in the middle stays there
      frame.scrollLeft = middle[0] * state.zoom / before - frame.clientWidth / 2;
      frame.scrollTop = middle[1] * state.zoom / before - frame.clientHeight / 2;
    }
    const large = state.zoom > 1;
    frame.classList.toggle('large', large);
    showPixels();
    if (large) frame.tabIndex = 0; else frame.removeAttribute('tabindex');
    find('zoom-shown').textContent = state.zoom + '×';
    find('zoom-out').disabled = step === 0;
    find('zoom-in').disabled = step === report.zooms.length - 1;
    if (report.scale) {
      find('scale-bar').style.width = report.scale[step].percent + '%';
      find('scale-text').textContent = report.scale[step].text;
    }
  }

  // Pixels get sharp edges where they are larger than those of the screen.
  function showPixels() {
    const larger = find('picture').clientWidth * window.devicePixelRatio > report.width;
    find('picture').classList.toggle('enlarged', larger);
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(() => change({ date: state.date % T + 1 }), 900) : 0;
    find('play').textContent = on ? 'Pause' : 'Play';
    find('play').setAttribute('aria-pressed', String(on));
  }

  function go(date) {
    play(false);
    change({ date: Math.min(Math.max(date, 1), T) });
  }

  function connect() {
    find('date').addEventListener('input', (event) => go(Number(event.target.value)));
    find('first').addEventListener('click', () => go(1));
    find('previous').addEventListener('click', () => go(state.date - 1));
    find('next').addEventListener('click', () => go(state.date + 1));
    find('last').addEventListener('click', () => go(T));
    find('play').addEventListener('click', () => play(!playing));
    find('shown').addEventListener('change', (event) => change({ shown: event.target.checked }));
    find('image').addEventListener('change', (event) => change({ image: event.target.checked }));
    find('fade').addEventListener('input', (event) => change({ fade: Number(event.target.value) }));
    kinds.forEach((input) => input.addEventListener('change', () => change({ kind: input.value })));
    toggles.forEach((input) => input.addEventListener('change', () => {
      const moment = Number(input.dataset.moment);
      if (input.checked) state.hidden.delete(moment); else state.hidden.add(moment);
      change({});
    }));
    const moments = toggles.map((input) => Number(input.dataset.moment));
    find('all').addEventListener('click', () => change({ hidden: new Set() }));
    find('none').addEventListener('click', () => change({ hidden: new Set(moments) }));
    const zoomBy = (steps) => report.zooms[report.zooms.indexOf(state.zoom) + steps] || state.zoom;
    find('zoom-in').addEventListener('click', () => change({ zoom: zoomBy(1) }));
    find('zoom-out').addEventListener('click', () => change({ zoom: zoomBy(-1) }));
    window.addEventListener('resize', showPixels);
    window.addEventListener('hashchange', () => { play(false); Object.assign(state, readAddress()); show(); });
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
    all('.picture img').forEach((image) => { image.draggable = false; });
  }

  // What stands at the pointer: the codes travel as bytes, not as a picture, since some browsers
  // blur the pixels that a page reads back.
  async function connectReadout() {
    if (!('DecompressionStream' in window)) return;
    const packed = Uint8Array.from(atob(report.codes), (sign) => sign.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
    codes = new Uint8Array(await new Response(stream).arrayBuffer());
    const advice = find('readout').textContent = 'Point at the map to read a pixel.';
    frame.addEventListener('pointermove', (event) => {
      const box = find('picture').getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / box.width * report.width);
      const row = Math.floor((event.clientY - box.top) / box.height * report.height);
      const inside = column >= 0 && row >= 0 && column < report.width && row < report.height;
      find('readout').textContent = inside ? pixelText(row, column) : advice;
    });
    frame.addEventListener('pointerleave', () => { find('readout').textContent = advice; });
  }

  function pixelText(row, column) {
    const place = row * report.width + column;
    const moment = codes[place];
    const score = codes[report.width * report.height + place]; // undefined where there is none
    const texts = [report.texts[moment === 255 ? T : moment]];
    if (score !== undefined && score !== 255) texts.push('score ' + score);
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
  connectReadout();
  show();
})();

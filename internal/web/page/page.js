'use strict';
(() => {
  const form = document.getElementById('filter');
  const news = document.getElementById('news');
  const byId = (id) => document.getElementById(id);
  const focusable = (region) => Array.from(region.querySelectorAll('a, summary, button, input, select'));

  // stable returns the HTML of a region without what changes with each look at it.
  const stable = (region) => {
    const copy = region.cloneNode(true);
    copy.querySelectorAll('time').forEach((time) => { time.textContent = ''; });
    copy.querySelectorAll('[data-fixed]').forEach((time) => { time.removeAttribute('datetime'); });
    copy.querySelectorAll('details').forEach((details) => { details.removeAttribute('open'); });
    copy.querySelectorAll('#stream').forEach((stream) => { stream.textContent = ''; });
    return copy.innerHTML;
  };

  // replace puts a newer region in place of one, with the same details open and the same focus.
  function replace(was, is) {
    for (const details of was.querySelectorAll('details[open]')) {
      const same = details.id && is.querySelector('#' + CSS.escape(details.id));
      if (same) {
        same.open = true;
      }
    }
    const at = focusable(was).indexOf(document.activeElement);
    was.replaceWith(is);
    if (at >= 0) {
      focusable(is)[at]?.focus({ preventScroll: true });
    }
  }

  // isSelected reports whether somebody has selected text of a region.
  const isSelected = (region) => {
    const selection = getSelection();
    return !selection.isCollapsed && (region.contains(selection.anchorNode) || region.contains(selection.focusNode));
  };

  function take(page) {
    for (const is of page.querySelectorAll('[data-live]')) {
      const was = byId(is.id);
      if (was && !isSelected(was) && stable(was) !== stable(is)) {
        replace(was, document.adoptNode(is));
      }
    }
    const asOf = page.querySelector('[data-fixed]') || document.querySelector('[data-fixed]');
    const mine = document.querySelector('[data-fixed]');
    mine.textContent = asOf.textContent;
    if (document.title !== page.title) {
      document.title = page.title;
      news.textContent = page.title;
    }
    showTimes();
    showStream();
  }

  let running = null;
  async function refresh() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    try {
      const answer = await fetch('/' + location.search, { signal, cache: 'no-store' });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
        if (!signal.aborted) {
          take(page);
        }
      }
    } catch {
      // The next event brings it.
    }
  }

  // Times. The page has them as they were when it was made.
  function ago(seconds) {
    const size = Math.abs(seconds);
    const unit = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']].find(([length]) => size >= length);
    if (!unit) {
      return 'now';
    }
    const text = Math.floor(size / unit[0]) + ' ' + unit[1];
    return seconds > 0 ? 'in ' + text : text + ' ago';
  }
  let ahead = 0; // of the node's clock, in milliseconds
  function showTimes() {
    for (const time of document.querySelectorAll('time:not([data-fixed])')) {
      const text = ago((Date.parse(time.dateTime) - Date.now() - ahead) / 1000);
      if (time.textContent !== text) {
        time.textContent = text;
      }
    }
  }
  ahead = Date.parse(document.querySelector('[data-fixed]').dateTime) - Date.now();
  setInterval(showTimes, 10000);

  // The stream of events. A page that nobody sees has none.
  let stream = null;
  let state = '';
  function showStream() {
    byId('stream').textContent = state;
  }
  function connect() {
    if (stream || document.hidden) {
      return;
    }
    let again = false;
    stream = new EventSource('/events');
    stream.onopen = () => {
      state = '· live';
      showStream();
      if (again) {
        refresh(); // something may have been missed
      }
      again = true;
    };
    stream.onmessage = refresh;
    stream.onerror = () => {
      state = '· not connected';
      showStream();
      if (stream.readyState === EventSource.CLOSED) {
        disconnect();
        setTimeout(() => { refresh(); connect(); }, 15000);
      }
    };
  }
  function disconnect() {
    stream?.close();
    stream = null;
  }
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      disconnect();
    } else {
      refresh();
      connect();
    }
  });
  addEventListener('pagehide', disconnect);
  connect();

  // The filter. Without this script the form asks for another page.
  function filter() {
    const words = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value !== '' && value !== 'attention') {
        words.set(name, value);
      }
    }
    const search = words.toString();
    history.replaceState(null, '', '/' + (search && '?' + search));
    refresh().then(() => { news.textContent = byId('found').textContent + ' containers'; });
  }
  let waits = 0;
  form.addEventListener('input', () => {
    clearTimeout(waits);
    waits = setTimeout(filter, 150);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(waits);
    filter();
  });
  form.querySelector('button').hidden = true;
})();

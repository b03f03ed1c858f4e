'use strict';
(function () {
  const input = document.getElementById('q');
  const found = document.getElementById('found');
  const lower = (element) => element.textContent.toLowerCase();
  const groups = Array.from(document.querySelectorAll('.group'), (group) => ({
    element: group,
    names: group.querySelector('h3 + details'),
    text: lower(group.closest('section').querySelector('h2')) + ' ' + Array.from(group.querySelectorAll('h3, h3 + details'), lower).join(' '),
    entries: Array.from(group.querySelectorAll('.entry'), (entry) => ({ element: entry, text: lower(entry) })),
  }));
  const total = groups.reduce((sum, group) => sum + group.entries.length, 0);

  function filter() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const group of groups) {
      const left = words.filter((word) => !group.text.includes(word));
      let some = false;
      for (const entry of group.entries) {
        const hit = left.every((word) => entry.text.includes(word));
        entry.element.hidden = !hit;
        some = some || hit;
        shown += hit ? 1 : 0;
      }
      group.element.hidden = !some;
      if (group.names) {
        group.names.open = words.length > 0 && left.length < words.length;
      }
    }
    for (const section of document.querySelectorAll('main section')) {
      section.hidden = words.length > 0 && !section.querySelector('.group:not([hidden])');
    }
    found.textContent = words.length > 0 ? shown + ' of ' + total + ' entries' : '';
  }

  function fromAddress() {
    const query = /^#q=(.*)$/.exec(location.hash);
    if (query) {
      try {
        input.value = decodeURIComponent(query[1]);
      } catch {
        input.value = query[1];
      }
      filter();
    }
  }

  let opened = [];
  addEventListener('beforeprint', () => {
    opened = Array.from(document.querySelectorAll('details:not([open])'));
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener('afterprint', () => {
    opened.forEach((details) => { details.open = false; });
  });
  addEventListener('hashchange', fromAddress);
  input.addEventListener('input', () => {
    filter();
    history.replaceState(null, '', '#q=' + encodeURIComponent(input.value));
  });
  document.getElementById('search').hidden = false;
  fromAddress();
})();

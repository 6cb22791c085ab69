// Says so when the stream of events has stopped: old numbers must not look like new ones.
"use strict";

(() => {
  const SILENT_MS = 5000;
  const notice = document.getElementById("stale");
  let heard = new Date();

  function show() {
    const stale = Date.now() - heard > SILENT_MS;
    if (stale && notice.hidden) {
      notice.textContent = notice.dataset.text.replace("{time}", heard.toLocaleTimeString(document.documentElement.lang));
    }
    notice.hidden = !stale;
    document.body.classList.toggle("stale", stale);
  }

  function hear() {
    heard = new Date();
    show();
  }
  document.addEventListener("htmx:sse:after:message", hear);
  document.addEventListener("htmx:after:swap", hear); // a page that asks every other second
  document.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) location.reload(); // signed out elsewhere
  });
  setInterval(show, 1000);
})();

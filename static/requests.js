// A list that begins with the newest asks whether it begins otherwise by now, while somebody can see it and is there.
// It shows what is new by itself only to who is not reading in it; others are told, and decide.
(() => {
  "use strict";
  const AWAY = 5 * 60_000; // without a sign of somebody: then asking would only keep their session from ending
  let asked = 0;
  let busy = false;

  const list = () => document.querySelector("#results[data-news]");
  const reading = (results) =>
    results.matches(":hover, :focus-within") || scrollY > 80 || document.querySelector("dialog[open]") || String(getSelection());

  const ask = async (results) => {
    const answer = await fetch(results.dataset.news, { headers: { "HX-Request": "true" } });
    if (answer.status === 401) delete results.dataset.news;
    // In the meantime another list may have taken its place.
    if (answer.status !== 200 || results !== list()) return;
    const latest = results.querySelector("[data-latest]");
    if (reading(results)) latest.hidden = false;
    else latest.click();
  };

  setInterval(async () => {
    const results = list();
    const now = Date.now();
    if (!results || busy || !window.isLookedAt(AWAY) || now - asked < Number(results.dataset.every) - 100) return;
    asked = now;
    busy = true;
    // Whoever is not reached is asked again; what was asked for by a click says what went wrong.
    await ask(results).catch(() => {});
    busy = false;
  }, 500);
})();

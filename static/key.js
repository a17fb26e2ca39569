// Asks how the key stands every two seconds, while the page can be seen and somebody has used it in the last minutes:
// a page that was left open must not keep its session alive for ever.
(() => {
  "use strict";
  const EVERY = 2000, PATIENCE = 10 * 60 * 1000;
  const $ = (selector) => document.querySelector(selector);
  let used = Date.now(), label = "";
  const badge = () => $("#key-live .pill").textContent.split(". ")[0].trim();

  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "visibilitychange"]) {
    document.addEventListener(kind, () => { used = Date.now(); }, { capture: true, passive: true });
  }
  // Whoever has selected something in it is about to copy it, and is not interrupted. The focus is kept by its id.
  const isHeld = (box) => !getSelection().isCollapsed && getSelection().containsNode(box, true);

  setInterval(() => {
    const box = $("#key-live");
    if (!window.htmx || document.hidden || Date.now() - used > PATIENCE || isHeld(box)) return;
    label ||= badge();
    htmx.trigger(box, "refresh");
  }, EVERY);

  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.elt.id === "key-live" && detail.successful) $("#key-stale").hidden = true;
  });
  document.addEventListener("htmx:afterSwap", ({ target }) => {
    if (target.id !== "key-live" || badge() === label) return;
    label = $("#key-said").textContent = badge();
  });
  // A key that was rotated from here has another prefix and another secret, told in several places. Escape closes the
  // dialog as its buttons do, unless it is kept open.
  document.addEventListener("click", ({ target }) => target.closest("[data-saved]") && setTimeout(() => location.reload()));
  document.addEventListener("cancel", (event) => {
    if (event.target.querySelector("[data-saved]")) setTimeout(() => event.defaultPrevented || location.reload());
  }, true);
  // One that goes wrong is told in its place, not by a message every two seconds.
  for (const kind of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(kind, (event) => {
      if (event.target.id !== "key-live") return;
      event.stopPropagation();
      $("#key-stale").hidden = false;
    }, true);
  }
})();

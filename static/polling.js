// Whatever asks by itself rests while its page is hidden, and when nobody has moved in it for some minutes: a page that
// was left open must not keep its session alive for ever.
(() => {
  "use strict";
  const EVERY = 2000, PATIENCE = 10 * 60_000;
  let sign = Date.now();
  const note = () => { sign = Date.now(); };

  for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "visibilitychange"]) {
    document.addEventListener(kind, note, { capture: true, passive: true });
  }
  addEventListener("focus", note); // of the window: what is swapped in takes the focus without anybody being there
  window.isLookedAt = (patience) => !document.hidden && Date.now() - sign <= patience;

  // Whoever has selected something in it is about to copy it, and is not interrupted. The focus is kept by its id.
  const isHeld = (box) => !getSelection().isCollapsed && getSelection().containsNode(box, true);

  setInterval(() => {
    const box = document.querySelector("[data-refresh]");
    if (box && window.htmx && window.isLookedAt(PATIENCE) && !isHeld(box)) htmx.trigger(box, "refresh");
  }, EVERY);
})();

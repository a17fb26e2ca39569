// How the key stands is asked every two seconds (polling.js); here is what is told of the answers.
(() => {
  "use strict";
  const $ = (selector) => document.querySelector(selector);
  let label = "";
  const badge = () => $("#key-live .pill").textContent.split(". ")[0].trim();

  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.elt.id === "key-live") label ||= badge();
  });
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

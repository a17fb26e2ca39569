// What went wrong is told where somebody looks, with a way to try again: in the dialog if one is open, else in a toast.
// Parts of a page that ask by themselves speak through one line at the top, which goes when the router answers again.
(() => {
  "use strict";
  const $ = (selector, from = document) => from.querySelector(selector);
  const AWAY = "The router could not be reached.";

  const offline = (text) => {
    const line = $("#offline");
    line.hidden = !text;
    if (line.textContent !== text) line.textContent = text;
  };
  const look = () => offline(navigator.onLine ? "" : "You are offline. What you see may be out of date.");

  // The card holds the way on: a button that sends the same once more, or a link.
  const tell = (text, wayOn) => {
    const card = $("#toast-error").content.firstElementChild.cloneNode(true);
    const foot = $("#modal").open && $("#modal .panel-foot");
    $("[data-text]", card).textContent = text;
    if (wayOn) {
      wayOn.className = "btn btn-sm flex-shrink-0";
      $("[data-text]", card).after(wayOn);
    }
    if (foot) foot.before(card);
    else $("#toasts").append(card);
  };
  const again = (element) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", () => {
      button.closest(".toast-card").remove();
      if (element.matches("form")) element.requestSubmit();
      else element.click();
    });
    return button;
  };
  const fail = (text, element) => {
    if (element.matches("form, a, button")) tell(text, again(element));
    else offline(`${text} What you see may be out of date; it is asked again.`);
  };

  addEventListener("online", look);
  addEventListener("offline", look);
  document.addEventListener("DOMContentLoaded", look);
  document.addEventListener("htmx:beforeRequest", ({ target }) => {
    if (!target.closest("#modal")) return;
    for (const card of document.querySelectorAll("#modal .panel > .toast-card")) card.remove();
  });
  document.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => xhr.status && xhr.status < 400 && look());
  document.addEventListener("htmx:sendError", ({ detail: { elt } }) => fail(AWAY, elt));
  document.addEventListener("htmx:timeout", ({ detail: { elt } }) => {
    fail("The router took too long to answer. It may have done what you asked all the same.", elt);
  });
  // An error in plain words is no part of a page: whatever it would have taken the place of stays.
  const plain = (xhr) => xhr.getResponseHeader("Content-Type")?.startsWith("text/plain") && xhr.responseText;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.xhr.status < 400 || !plain(detail.xhr)) return;
    detail.shouldSwap = false;
    detail.isError = true;
  });
  document.addEventListener("htmx:responseError", ({ detail: { xhr, elt } }) => {
    fail(plain(xhr) || "The router failed to answer.", elt);
  });

  // A session that ends under an open dialog takes the person to the login page when they are ready, and back.
  let shown = "";
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const { xhr, elt, target, requestConfig, pathInfo } = event.detail;
    // What a form of the page brought, such as the question about many keys, has no address to come back to.
    if (target.id === "modal-body") {
      if (requestConfig.verb === "get") shown = pathInfo.finalRequestPath;
      else if (!elt.closest("#modal")) shown = "";
    }
    if (xhr.status !== 401 || !elt.closest("#modal")) return;
    event.preventDefault();
    sessionStorage.setItem("reopen", shown);
    const link = document.createElement("a");
    link.href = xhr.getResponseHeader("HX-Redirect") ?? "/login";
    link.textContent = "Log in";
    const rest = shown ? "this form comes back with what you typed" : "choose again";
    tell(`Your session has ended. Log in, and ${rest}.`, link);
  });
})();

// A session that ends while somebody types must not cost them what they typed: the form stays, and once they have
// logged in elsewhere it is sent with the token of the new session.
(() => {
  "use strict";
  let sessionEnded = false;
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (xhr.status !== 401 || requestConfig.verb === "get" || !document.querySelector("#modal").open) return;
    event.preventDefault();
    sessionEnded = true;
    document.dispatchEvent(new CustomEvent("modal:fail", { detail:
      "Your session has ended. Log in again in another tab, then send this once more: what you typed is still here." }));
  });
  const renewToken = async () => {
    const page = await (await fetch("/account")).text();
    const token = new DOMParser().parseFromString(page, "text/html").querySelector("[name=csrf_token]").value;
    document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRFToken": token }));
    for (const field of document.querySelectorAll("[name=csrf_token]")) field.value = token;
  };
  document.addEventListener("htmx:confirm", (event) => {
    if (!sessionEnded) return;
    event.preventDefault();
    sessionEnded = false;
    renewToken().catch(() => {}).then(() => event.detail.issueRequest(true));
  });
})();

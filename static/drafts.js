// What somebody typed is not lost to a slip: not to Escape, not to an error, not to a session that ends. It lies in this
// tab alone (sessionStorage), apart for each person and each form, until it is sent or thrown away; never a secret.
(() => {
  "use strict";
  const $ = (selector, from = document) => from.querySelector(selector);
  const FORMS = "form.panel, form[data-draft]";
  const SECRET = /\b(?:(?:sk-|AIza|AQ\.|xai-|hf_|eyJ)[\w-]{6}|gsk_|pplx-|A[KS]IA[0-9A-Z]{6}|gh[pousr]_|github_pat_|xox\w-)|PRIVATE KEY/;
  const UNKEPT = ["hidden", "password", "file", "submit", "button"];
  const modal = () => $("#modal");

  const named = (form) => {
    const owner = $(".topbar")?.dataset.owner;
    return owner && form?.matches(FORMS) ? `draft ${owner} ${form.getAttribute("action")}` : "";
  };
  const drafts = () => Object.keys(sessionStorage).filter((name) => name.startsWith("draft "));
  const read = (name) => JSON.parse(sessionStorage.getItem(name)) ?? {};
  const forget = (form) => form && sessionStorage.removeItem(named(form));
  const isDrafted = (form) => Boolean(named(form) && sessionStorage.getItem(named(form)));

  const isTick = (field) => field.type === "checkbox" || field.type === "radio";
  const keyOf = (field) => (isTick(field) ? `${field.name}=${field.value}` : field.name);
  const valueOf = (field) => (isTick(field) ? field.checked : field.value);
  const servedOf = (field) => {
    if (isTick(field)) return field.defaultChecked;
    if (!field.options) return field.defaultValue;
    return ([...field.options].find((option) => option.defaultSelected) ?? field.options[0])?.value;
  };
  const fieldsOf = (form) => [...form.elements].filter((field) =>
    field.name && !UNKEPT.includes(field.type) && !field.matches("fieldset, button, [data-private]"));

  // Only what differs from what the server sent is kept, so that a draft never takes back what others changed meanwhile.
  const keep = (form) => {
    const draft = read(named(form));
    for (const field of fieldsOf(form)) {
      const value = valueOf(field);
      if (SECRET.test(String(value))) delete draft[keyOf(field)];
      else if (value !== servedOf(field) || keyOf(field) in draft) draft[keyOf(field)] = value;
    }
    if (Object.keys(draft).length) sessionStorage.setItem(named(form), JSON.stringify(draft));
    else forget(form);
  };
  const restore = (form) => {
    const draft = read(named(form));
    let changed = false;
    for (const field of fieldsOf(form)) {
      const value = draft[keyOf(field)];
      if (value === undefined || value === valueOf(field)) continue;
      if (isTick(field)) field.checked = value;
      else field.value = value;
      if (field.closest("details")) field.closest("details").open = true;
      for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
      changed = true;
    }
    if (changed) ($(".field, .pair", form) ?? form.firstElementChild).before($("#restored").content.cloneNode(true));
  };

  const ask = () => {
    const form = $("form.panel", modal());
    const box = $("#discard");
    box.returnValue = "";
    box.showModal();
    box.onclose = () => {
      if (box.returnValue !== "discard") return;
      forget(form);
      modal().close();
    };
  };
  const isAsked = () => modal().open && !$("#discard").open && isDrafted($("form.panel", modal()));
  const stop = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    ask();
  };
  document.addEventListener("keydown", (event) => event.key === "Escape" && isAsked() && stop(event), true);
  document.addEventListener("cancel", (event) => event.target === modal() && isAsked() && stop(event), true);
  document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    if (on("#modal .btn-close[data-close]") && isAsked()) stop(event);
    else if (on("[data-close], .conflict a")) forget(on(FORMS));
    else if (on("[data-forget]")) {
      const form = on("form");
      forget(form);
      form.reset();
      on(".alert").remove();
    }
  }, true);

  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, ({ target }) => target.form && named(target.form) && keep(target.form));
  }
  document.addEventListener("htmx:afterRequest", ({ detail: { xhr, requestConfig } }) => {
    if (xhr.status >= 200 && xhr.status < 400) forget(requestConfig.elt);
  });
  document.addEventListener("htmx:afterSettle", ({ target }) => {
    if (target.id === "modal-body" && $(FORMS, target)) restore($(FORMS, target));
  });

  // Without htmx a form leaves the page. It was taken when the next page does not show it again with its errors; the
  // login page comes in between when the session had ended, and proves nothing.
  document.addEventListener("submit", ({ target, defaultPrevented }) => {
    if (target.getAttribute("action") === "/logout") drafts().forEach((name) => sessionStorage.removeItem(name));
    else if (!defaultPrevented && isDrafted(target)) sessionStorage.setItem("sent", named(target));
  });
  document.addEventListener("DOMContentLoaded", () => {
    const sent = sessionStorage.getItem("sent");
    const forms = [...document.querySelectorAll(FORMS)];
    const isRefused = (form) => named(form) === sent && $("[aria-invalid], .summary, .conflict", form);
    sessionStorage.removeItem("sent");
    if (!$(".topbar")) return;
    if (sent && !forms.some(isRefused)) sessionStorage.removeItem(sent);
    forms.filter(named).forEach(restore);
    const address = sessionStorage.getItem("reopen");
    sessionStorage.removeItem("reopen");
    if (address) htmx.ajax("GET", address, { target: "#modal-body" });
  });
})();

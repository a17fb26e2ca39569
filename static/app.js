// What HTML and htmx cannot do alone: the theme, one dialog, copying, and care for a secret on screen.
// Everything is delegated from the document, so swapped-in elements need no set-up. Without this file all pages work.
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (selector, from = document) => from.querySelector(selector);
  const modal = () => $("#modal");
  const locked = (from) => $("[data-locked]", from);
  let opener = "";

  // Before the first paint: "system" follows the browser.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    const { theme } = root.dataset;
    root.dataset.bsTheme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
  };
  paint();
  dark.addEventListener("change", paint);
  document.addEventListener("theme", ({ detail: { value } }) => {
    root.dataset.theme = value;
    paint();
    for (const button of document.querySelectorAll(".themes button")) button.ariaPressed = String(button.value === value);
  });
  root.classList.add("js");

  const focus = (element) => {
    if (!element) return;
    element.focus();
    if (element.matches("[data-secret]")) element.select();
  };
  const focusFirst = (box) => {
    focus($(".conflict", box) || $("[aria-invalid=true]", box) || $("[autofocus]", box) || $("#panel-title", box));
  };

  const open = () => {
    const dialog = modal();
    if (!dialog.open) {
      dialog.showModal();
      // What lies below a modal dialog is dimmed and cannot be clicked, so messages come along.
      dialog.append($("#toasts"));
    }
    dialog.toggleAttribute("data-secret-inside", Boolean(locked(dialog)));
    focusFirst(dialog);
  };
  const close = () => modal().close();

  const select = (element) => {
    if (element.select) {
      element.focus();
      element.select();
    } else getSelection().selectAllChildren(element);
  };
  // The Clipboard API exists on https and localhost only; elsewhere the old command, whose answer is believed.
  const copy = async (element) => {
    try {
      await navigator.clipboard.writeText(element.value ?? element.textContent);
      return true;
    } catch {
      select(element);
      try {
        return document.execCommand("copy");
      } catch {
        return false;
      }
    }
  };
  const onCopy = async (button) => {
    const source = $(button.dataset.copy);
    const note = $("[data-copied]", button.closest(".field, .snippet"));
    const done = await copy(source);
    if (!done) select(source);
    note.textContent = done ? "Copied." : "The browser did not allow copying. It is selected: press Ctrl+C or ⌘C.";
  };

  const addLine = (button) => {
    const area = $(button.dataset.addLine);
    const lines = area.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!lines.includes(button.dataset.value)) lines.push(button.dataset.value);
    area.value = lines.join("\n");
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  };

  // The focus goes on to what stood behind, or to what adds another one.
  const removed = (button) => {
    const row = button.closest(button.dataset.remove);
    const next = $("input", row.nextElementSibling ?? row.parentElement.nextElementSibling) ?? row.parentElement.nextElementSibling;
    row.remove();
    focus(next);
  };

  document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    let hit;
    // A double click must not take back what its first click did: the button says the opposite by then.
    if (event.detail > 1 && on("[data-once]")) event.preventDefault();
    if ((hit = on("[data-saved]"))) locked()?.removeAttribute("data-locked");
    if ((hit = on("[data-copy]"))) onCopy(hit);
    else if ((hit = on("[data-add-line]"))) addLine(hit);
    else if ((hit = on("[data-remove]"))) removed(hit);
    else if ((hit = on("[data-dismiss]"))) hit.closest(".toast-card").remove();
    else if ((hit = on("#modal [data-close]")) && !locked(modal())) {
      event.preventDefault();
      close();
    } else if ((hit = on(".summary a[href^='#']"))) {
      const field = $(hit.getAttribute("href"));
      const folded = field?.closest("details");
      if (folded) folded.open = true;
      event.preventDefault();
      focus(field);
    }
  });

  // Whoever pastes a whole secret to find it sends and keeps its prefix only.
  document.addEventListener("input", ({ target }) => {
    if (target.type === "search") target.value = target.value.replace(/(sk-(?:proxy|mgmt)-[0-9a-f]{4})[0-9a-f]+/, "$1");
  }, true);

  // A secret on screen is put away by its own button only: not by Escape, not by leaving unasked.
  const keep = (event) => {
    if (locked(modal())) event.preventDefault();
  };
  document.addEventListener("keydown", (event) => event.key === "Escape" && keep(event), true);
  document.addEventListener("cancel", keep, true);
  addEventListener("beforeunload", (event) => locked() && event.preventDefault());

  document.addEventListener("close", (event) => {
    if (event.target !== modal()) return;
    if (locked(modal())) return void modal().showModal();
    $("#modal-body").replaceChildren();
    document.body.append($("#toasts"));
    focus(document.getElementById(opener) || $("#create-key") || $("#main"));
  }, true);

  document.addEventListener("animationend", (event) => event.animationName === "toast-out" && event.target.remove());
  document.addEventListener("DOMContentLoaded", () => {
    if (locked()) focusFirst(document);
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target.id === "modal-body" && !modal().open) opener = event.detail.elt.id;
  });
  document.addEventListener("htmx:afterSettle", (event) => event.target.id === "modal-body" && event.target.childElementCount && open());
  document.addEventListener("modal:close", close);
})();

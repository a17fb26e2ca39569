// The list of keys: menus and notes close again, one box picks all, and the focus finds back to the row it came from.
(() => {
  "use strict";
  const $ = (selector) => document.querySelector(selector);
  const pops = () => [...document.querySelectorAll("details.pop[open]")];
  const boxes = () => [...document.querySelectorAll("#keys-body [name=ids]")];
  let from = ""; // the id of what the last dialog or change was asked for with

  const count = () => {
    const all = $("#pick-all"), picked = boxes().filter((box) => box.checked).length;
    if (!all) return;
    all.checked = picked > 0 && picked === boxes().length;
    all.indeterminate = picked > 0 && !all.checked;
    $("#picked").textContent = `${picked} selected`;
  };
  // A menu that closed, or a row that was replaced, has taken the focus with it.
  const back = () => {
    if (document.activeElement && document.activeElement !== document.body) return;
    const target = document.getElementById(from);
    (target?.checkVisibility() ? target : $("#main"))?.focus();
  };

  document.addEventListener("click", ({ target }) => {
    const pop = target.closest("details.pop");
    for (const other of pops()) if (other !== pop) other.open = false;
    if (!target.closest(".menu .dropdown-item")) return;
    from = pop.querySelector("summary").id;
    pop.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const [pop] = pops();
    if (event.key !== "Escape" || !pop || $("dialog[open]")) return;
    pop.open = false;
    pop.querySelector("summary").focus();
  });
  document.addEventListener("submit", ({ target, submitter }) => {
    if (target.id === "bulk") from = submitter.id;
  }, true);
  document.addEventListener("change", ({ target }) => {
    if (target.id === "pick-all") for (const box of boxes()) box.checked = target.checked;
    if (target.id === "pick-all" || target.name === "ids") count();
  });
  // Emptied at once: what settles after an answer that closed the dialog would open it again otherwise.
  document.addEventListener("modal:close", () => $("#modal-body").replaceChildren());
  document.addEventListener("close", (event) => event.target.id === "modal" && back(), true);
  document.addEventListener("htmx:afterSettle", () => {
    count();
    if (from && !$("dialog[open]")) back();
  });
  count();
})();

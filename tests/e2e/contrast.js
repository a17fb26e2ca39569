// Where the edge of a control, or the ring around what has the focus, stands out from its surroundings by less than 3:1
// (WCAG 2.2, 1.4.11 and 2.4.13): a sentence each. axe judges text alone. Of elements that look the same one is asked.
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const ground = (element) => {
    if (!element) return [255, 255, 255, 1];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, element.matches("dialog") ? [255, 255, 255, 1] : ground(element.parentElement));
  };
  const luminance = (color) => {
    const [red, green, blue] = color.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const named = (element) =>
    `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}.${element.className} "${(element.innerText ?? "").slice(0, 20)}"`;
  const isSeen = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width > 1 && height > 1 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  };
  const settle = () => document.getAnimations().filter((one) => one instanceof CSSTransition).forEach((one) => one.finish());

  const told = [];
  const once = new Set();
  const isNew = (kind, element) => {
    const look = `${kind} ${element.tagName} ${element.type} ${element.className} ${ground(element.parentElement)}`;
    return !once.has(look) && once.add(look);
  };
  const dialogs = document.querySelectorAll("dialog[open]");
  const where = dialogs.length ? dialogs[dialogs.length - 1] : document;
  settle();

  let edges = 0;
  for (const control of where.querySelectorAll("input, select, textarea, button, .btn")) {
    if (!isSeen(control) || control.disabled || !isNew("edge", control)) continue;
    const style = getComputedStyle(control);
    const outside = ground(control.parentElement);
    const edge = rgba(style.borderTopColor);
    const isDrawn = parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== "none" && edge[3] > 0.05;
    const isField = control.matches("input, select, textarea");
    if (!isDrawn && !isField) continue;
    edges += 1;
    const best = Math.max(isDrawn ? ratio(over(edge, outside), outside) : 1, ratio(ground(control), outside));
    if (best < 3) told.push(`edge ${best.toFixed(2)}: ${named(control)}`);
  }
  for (const sign of where.querySelectorAll(".input-group-text")) {
    const found = ratio(over(rgba(getComputedStyle(sign).color), ground(sign)), ground(sign));
    if (isSeen(sign) && found < 4.5) told.push(`text ${found.toFixed(2)}: ${named(sign)}`);
  }

  let rings = 0;
  for (const element of where.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")) {
    // The ring of a control that is hidden from the eye is drawn around its label.
    const shown = isSeen(element) ? element : element.nextElementSibling?.matches("label") ? element.nextElementSibling : null;
    if (!shown || !isSeen(shown) || !isNew("ring", shown)) continue;
    element.focus();
    if (document.activeElement !== element) continue;
    settle();
    rings += 1;
    const style = getComputedStyle(shown);
    const found = ratio(over(rgba(style.outlineColor), ground(shown.parentElement)), ground(shown.parentElement));
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) told.push(`no ring: ${named(shown)}`);
    else if (found < 3) told.push(`ring ${found.toFixed(2)}: ${named(shown)}`);
  }
  return { told, edges, rings };
}

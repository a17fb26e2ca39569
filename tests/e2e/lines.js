// Of each badge and tag on the page: what stands in a line with it on another baseline, by more than a pixel.
() => {
  const pen = document.createElement("canvas").getContext("2d");
  const seen = (text) => text.data.trim() && !text.parentElement.closest(".visually-hidden, svg") && text.parentElement.checkVisibility();
  const texts = (element) => {
    const found = [], walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) if (seen(walker.currentNode)) found.push(walker.currentNode);
    return found;
  };
  // The box of a text ends below its baseline by what the letters of its font may reach down.
  const lines = (text) => {
    const range = document.createRange(), { fontStyle, fontWeight, fontSize, fontFamily } = getComputedStyle(text.parentElement);
    range.selectNodeContents(text);
    pen.font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
    const below = pen.measureText("x").fontBoundingBoxDescent;
    return [...range.getClientRects()].map(({ top, bottom, height }) => ({ top, bottom, height, baseline: bottom - below }));
  };
  const isInLine = (one, other) =>
    Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > Math.min(one.height, other.height) / 2;
  const told = [];
  for (const mark of document.querySelectorAll(".pill, .tag, dd code")) {
    const own = texts(mark).flatMap(lines);
    const others = texts(mark.parentElement).filter((text) => !mark.contains(text));
    for (const text of others) {
      for (const line of lines(text)) {
        for (const mine of own.filter((one) => isInLine(one, line) && Math.abs(one.baseline - line.baseline) > 1)) {
          told.push(`${mark.textContent.trim()} | ${text.data.trim()}: ${(mine.baseline - line.baseline).toFixed(1)}`);
        }
      }
    }
  }
  return told;
}

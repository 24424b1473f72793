// What scrolls sideways inside a page can be reached with the Tab key, and then moved with the arrow keys.
// Chromium does this by itself today, other browsers do not.
(() => {
  const boxes = "div.highlight pre, .cell_output pre, .bd-article table, div.math, mjx-container[display='true']";

  const update = () => {
    for (const box of document.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1;
      if (scrolls === box.hasAttribute("data-scrolls")) continue;
      box.toggleAttribute("data-scrolls", scrolls);
      // MathJax has made its formulas reachable for the sake of their menu, and they stay so.
      if (scrolls) box.tabIndex = 0;
      else if (!box.matches("mjx-container")) box.removeAttribute("tabindex");
      // A table or a formula has a role of its own.
      if (box.tagName !== "PRE") continue;
      const name = box.closest(".cell_output") ? "Output" : "Code";
      if (scrolls) {
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", `${name}, scrolls sideways`);
      } else {
        box.removeAttribute("role");
        box.removeAttribute("aria-label");
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    // The article changes its size with the window, when a folded cell opens, and when its formulas have been set.
    const article = document.querySelector(".bd-article") || document.body;
    new ResizeObserver(update).observe(article);
    update();
  });
})();

(() => {
  "use strict";
  const tip = document.getElementById("tip");
  let shown = null;

  const place = (mark) => {
    const box = mark.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), room - own.width - 8);
    const above = box.top - own.height - 8;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above >= 8 ? above : Math.min(box.bottom + 8, innerHeight - own.height - 8)}px`;
  };

  const show = (mark) => {
    const [name, ...values] = mark.getAttribute("aria-label").split("; ");
    const title = document.createElement("b");
    title.textContent = name;
    tip.replaceChildren(title, ...values.map((value) => {
      const line = document.createElement("span");
      line.textContent = value;
      return line;
    }));
    if (shown) shown.classList.remove("marked");
    shown = mark;
    mark.classList.add("marked");
    tip.hidden = false;
    place(mark);
  };

  const hide = () => {
    if (shown) shown.classList.remove("marked");
    shown = null;
    tip.hidden = true;
  };

  const markOf = (event) => event.target instanceof Element ? event.target.closest("[data-mark]") : null;
  const focused = () => document.activeElement && document.activeElement.closest("[data-mark]");

  document.addEventListener("pointerover", (event) => {
    const mark = markOf(event);
    if (mark) show(mark);
    else if (!focused()) hide();
    else if (shown !== focused()) show(focused());
  });
  document.addEventListener("focusin", (event) => {
    const mark = markOf(event);
    if (mark) show(mark); else hide();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", () => { if (shown) place(shown); }, { passive: true, capture: true });

  // A plot is one stop of the tabulator; arrows walk through its marks.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const mark = markOf(event);
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    if (!mark || !(event.key in steps)) return undefined;
    const marks = [...mark.closest("[data-plot]").querySelectorAll("[data-mark]")];
    const next = marks[Math.min(Math.max(marks.indexOf(mark) + steps[event.key], 0), marks.length - 1)];
    event.preventDefault();
    mark.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    return undefined;
  });

  // Paper cannot be unfolded; tables that repeat a plot stay away.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not(.numbers)")];
    opened.forEach((details) => { details.open = true; });
    hide();
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
})();

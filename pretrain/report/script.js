// Read-outs under the pointer. The page is complete without them.
"use strict";

function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = JSON.parse(figure.dataset.chart);
  const svg = figure.querySelector(".plot > svg");
  const cursor = svg.querySelector(".cursor");
  const readout = figure.querySelector(".readout");
  const clear = () => { readout.textContent = ""; cursor.classList.remove("on"); };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const wanted = chart.low + share * (chart.high - chart.low);
    const lines = chart.series.map((s) => ({ ...s, at: nearest(s.x, wanted) }));
    const step = lines.map((s) => s.x[s.at])
      .reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
    const texts = lines.map((s) => {
      const note = s.x[s.at] === step ? "" : " at " + s.x[s.at].toLocaleString("en");
      return s.name + " " + s.y[s.at].toLocaleString("en", { maximumSignificantDigits: 4 }) + note;
    });
    readout.textContent = chart.x + " " + step.toLocaleString("en") + " · " + texts.join(" · ");
    const x = 100 * (step - chart.low) / (chart.high - chart.low) + "%";
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
  });
  svg.addEventListener("pointerleave", clear);
}

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

function figures(value, most) {
  const raised = (_, power) => "×10" + [...power].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join("");
  if (value >= 1e12) return value.toExponential(2).replace(/e\+(\d+)/, raised);
  return value.toLocaleString("en", most ? { maximumSignificantDigits: most } : {});
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = JSON.parse(figure.dataset.chart);
  const scale = chart.log ? Math.log : (value) => value;
  const low = scale(chart.low), high = scale(chart.high);
  const series = chart.series.map((s) => ({ ...s, places: s.x.map(scale) }));
  const svg = figure.querySelector(".plot > svg");
  const cursor = svg.querySelector(".cursor");
  const readout = figure.querySelector(".readout");
  const clear = () => { readout.textContent = ""; cursor.classList.remove("on"); };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const wanted = low + share * (high - low);
    const lines = series.map((s) => ({ ...s, at: nearest(s.places, wanted) }));
    const place = lines.map((s) => s.places[s.at])
      .reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
    const texts = lines.map((s) => {
      const ends = s.ends && s.ends[s.at].map((v) => figures(v, 4)).join(" to ");
      const note = s.places[s.at] === place ? "" : " at " + figures(s.x[s.at]);
      return s.name + " " + figures(s.y[s.at], 4) + (ends ? ` (${ends})` : "") + note;
    });
    const chosen = lines.find((s) => s.places[s.at] === place);
    readout.textContent = chart.x + " " + figures(chosen.x[chosen.at]) + " · " + texts.join(" · ");
    const x = 100 * (place - low) / (high - low) + "%";
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
  });
  svg.addEventListener("pointerleave", clear);
}

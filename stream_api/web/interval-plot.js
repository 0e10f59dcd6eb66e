/** A mean and its 95 % interval as a dot on a line, all rows on one scale. No state in here. */

import { formatNumber } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const TICKS = 4;

/**
 * Smallest round range around all intervals, its ticks, and a `format` for its numbers: all with
 * the same decimals, one more than the ticks have.
 */
export function scaleOf(cohorts) {
  const ends = cohorts.flatMap(({ value, ci95 }) => [value, ...(ci95 ?? [])]);
  const known = ends.filter((end) => end !== null);
  if (known.length === 0) return { low: 0, high: 1, ticks: [], format: formatNumber };
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const step = roundStep((high - low || Math.abs(high) || 1) / TICKS);
  const [first, last] = [Math.floor(low / step), Math.ceil(high / step)];
  const count = Math.max(1, last - first);
  const tickAt = (at) => Number(((first + at) * step).toPrecision(12));
  const ticks = Array.from({ length: count + 1 }, (_, at) => tickAt(at));
  const digits = Math.min(20, Math.max(0, 1 + Math.ceil(-Math.log10(step))));
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  const numbers = new Intl.NumberFormat("en", fixed);
  const format = (value) => numbers.format(value).replace("-", "−");
  return { low: first * step, high: (first + count) * step, ticks, format };
}

/** 1, 2 or 5 times a power of ten, at least `size`. */
function roundStep(size) {
  const power = 10 ** Math.floor(Math.log10(size));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= size * 0.999);
}

/** The drawing of one cohort; its text stands in the cell beside it. */
export function drawInterval({ value, ci95, smallSample }, scale) {
  const plot = element("svg", { class: "interval", "aria-hidden": "true", focusable: "false" });
  for (const tick of scale.ticks) {
    const x = percent(tick, scale);
    plot.append(element("line", { class: "tick", x1: x, x2: x, y1: "0", y2: "100%" }));
  }
  if (smallSample) plot.classList.add("small");
  if (ci95) {
    const [from, to] = ci95.map((end) => percent(end, scale));
    plot.append(element("line", { class: "whisker", x1: from, x2: to, y1: "50%", y2: "50%" }));
    for (const x of [from, to]) {
      plot.append(element("line", { class: "cap", x1: x, x2: x, y1: "32%", y2: "68%" }));
    }
  }
  if (value !== null) {
    plot.append(element("circle", { class: "point", cx: percent(value, scale), cy: "50%", r: "5" }));
  }
  return plot;
}

/** The numbers under the drawings. */
export function drawAxis(scale) {
  const axis = element("svg", { class: "axis", "aria-hidden": "true", focusable: "false" });
  scale.ticks.forEach((tick, at) => {
    const label = element("text", { x: percent(tick, scale), y: "12" });
    const last = scale.ticks.length - 1;
    label.setAttribute("text-anchor", at === 0 ? "start" : at === last ? "end" : "middle");
    label.textContent = formatNumber(tick);
    axis.append(label);
  });
  return axis;
}

function percent(value, { low, high }) {
  // A margin, so that dots and caps at the ends are whole.
  return `${(2 + (96 * (value - low)) / (high - low)).toFixed(3)}%`;
}

function element(name, attributes) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  return one;
}

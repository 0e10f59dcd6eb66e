/** Rows of the cohort panel's two tables, out of a comparison of the API. */

import { formatNumber, formatProbability } from "./format.js";
import { drawInterval } from "./interval-plot.js";

export const SIGNIFICANT = 0.05;
// Cohen's words for a standardised difference.
const EFFECTS = [
  [0.8, "large"],
  [0.5, "medium"],
  [0.2, "small"],
  [0, "negligible"],
];

export function cohortRow(cohort, scale) {
  const { format } = scale;
  const { cohortId, cohortName, value, ci95, sampleSize, rank, smallSample } = cohort;
  const row = tag("tr", { role: "row" });
  row.dataset.cohort = cohortId;
  const name = tag("th", { role: "rowheader", scope: "row" }, tag("span", {}, cohortName));
  if (smallSample) {
    const title = "Under five people: too few to rank, and the interval is wide";
    name.append(tag("span", { class: "badge", title }, "small sample"));
  }
  const plot = cell("plot", drawInterval(cohort, scale));
  row.append(
    cell("rank", rank === null ? "–" : String(rank)),
    name,
    cell("mean", value === null ? "–" : format(value)),
    plot,
    cell("ci", formatInterval(ci95, format)),
    cell("people", formatNumber(sampleSize)),
  );
  return row;
}

export function pairRow(pair, names, { format }) {
  const { a, b, difference, ci95, effectSize, pAdjusted } = pair;
  const clear = pAdjusted !== null && pAdjusted < SIGNIFICANT;
  const row = tag("tr", { role: "row" });
  row.dataset.clear = String(clear);
  const label = `${names.get(a) ?? a} − ${names.get(b) ?? b}`;
  row.append(
    tag("th", { role: "rowheader", scope: "row" }, label),
    cell("difference", formatSigned(difference, format)),
    cell("ci", formatInterval(ci95, format)),
    cell("effect", effectSize === null ? "–" : `${formatSigned(effectSize, twoDigits)} ${wordOf(effectSize)}`),
    cell("p", formatProbability(pAdjusted)),
    cell("verdict", pAdjusted === null ? "too few people" : clear ? "clear" : "not clear"),
  );
  return row;
}

function formatInterval(ci95, format) {
  return ci95 ? ci95.map(format).join(" to ") : "–";
}

function formatSigned(value, format) {
  if (value === null) return "–";
  return value > 0 ? `+${format(value)}` : format(value);
}

const twoDigits = (value) => value.toFixed(2).replace("-", "−");

function wordOf(effectSize) {
  return EFFECTS.find(([least]) => Math.abs(effectSize) >= least)[1];
}

function cell(kind, content) {
  return tag("td", { role: "cell", class: kind }, content);
}

function tag(name, attributes, content = "") {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(content); // a string becomes text, never markup
  return one;
}

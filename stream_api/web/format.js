/** How numbers, names and times are written on the page. Pure functions. */

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
const percent = new Intl.NumberFormat("en", {
  style: "percent",
  maximumSignificantDigits: 2,
  signDisplay: "exceptZero",
});
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** 0.85, 1,234, 1.235M: at most four significant digits, so that a tile never overflows. */
export function formatNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return compact.format(value);
  if (size >= 1000) return grouped.format(value);
  return plain.format(value);
}

/** `▲ 0.03 (+3.6%)`; the arrow and the sign say it, colour only repeats it. */
export function formatChange(last, previous) {
  if (previous === null) return { text: "first value", direction: "none" };
  // Floating point makes 0.3 − 0.1 a long number; four digits are what the tile shows anyway.
  const difference = Number((last - previous).toPrecision(12));
  if (difference === 0) return { text: "no change", direction: "none" };
  const arrow = difference > 0 ? "▲" : "▼";
  const share = previous === 0 ? "" : ` (${percent.format(difference / Math.abs(previous))})`;
  return {
    text: `${arrow} ${formatNumber(Math.abs(difference))}${share}`,
    direction: difference > 0 ? "up" : "down",
  };
}

const ACRONYMS = new Set(["sroi", "vis", "q2q", "id", "kpi", "nps"]);

/** `integration_score`, `integrationScore` → `Integration score`; `sroi_ratio` → `SROI ratio`. */
export function humanise(name) {
  const words = String(name)
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/[_.\-\s]+/g, " ")
    .trim()
    .toLowerCase()
    .split(" ")
    .map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : word))
    .join(" ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function formatTime(ms) {
  return clock.format(ms);
}

/** `< 1 ms`, `4 ms`, `1.2 s`, `3 min`. */
export function formatDuration(ms) {
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${plain.format(Math.round(ms / 100) / 10)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

/** `0.031`, `< 0.001`, `–`: p-values below what anybody should read into them are not told apart. */
export function formatProbability(p) {
  if (p === null) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

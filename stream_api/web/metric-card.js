/** One metric on the page: name, last value, change, and its moving chart. */

import { formatChange, formatNumber, formatTime, humanise } from "./format.js";

const HUES = 6;
const CHART_HEIGHT = 136;
// A moving chart cannot be read aloud; its description follows at a pace that can.
const DESCRIBE_EVERY_MS = 5000;

export class MetricCard {
  #chart;
  #resizes;
  #parts;
  #range = [0, 1];
  #describedAt = 0;
  #hovered = null;

  /**
   * @param {import("./metric-series.js").MetricSeries} series
   * @param {HTMLTemplateElement} template
   * @param {number} index place on the page, which decides the colour
   */
  constructor(series, template, index) {
    this.series = series;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.dataset.metric = series.name;
    this.element.dataset.hue = String(index % HUES);
    const part = (name) => this.element.querySelector(`[data-part="${name}"]`);
    this.#parts = Object.fromEntries(
      ["name", "value", "change", "chart", "note"].map((name) => [name, part(name)]),
    );
    this.#parts.name.textContent = humanise(series.name);
    this.#parts.name.title = series.name;
  }

  /** Draw for the first time; the element must be in the document, since its width decides. */
  mount() {
    const host = this.#parts.chart;
    this.#chart = new uPlot(this.#chartOptions(host.clientWidth), [[], []], host);
    this.#resizes = new ResizeObserver(() => {
      if (host.clientWidth > 0) {
        this.#chart.setSize({ width: host.clientWidth, height: CHART_HEIGHT });
      }
    });
    this.#resizes.observe(host);
  }

  /** Take the card off the page, with all that the chart listens to. */
  remove() {
    this.#resizes.disconnect();
    this.#chart.destroy();
    this.element.remove();
  }

  /** Show the series over `[from, to]`, in seconds. */
  render(from, to) {
    const { series } = this;
    const { value, change } = this.#parts;
    const { text, direction } = formatChange(series.last, series.previous);
    setText(value, formatNumber(series.last));
    setText(change, text);
    change.dataset.direction = direction;
    this.element.dataset.points = String(series.received);
    this.#range = [from, to];
    this.#chart.setData([series.times, series.values]);
    this.#writeNote();
  }

  /** Colours come from the style sheet, which follows the system's theme. */
  repaint() {
    this.#chart.redraw();
  }

  #writeNote() {
    const [from, to] = this.#range;
    const summary = this.series.summary(from);
    const points = summary === null ? 0 : summary.count;
    const spread = summary === null ? "" : ` · ${formatRange(summary)}`;
    const overall = `${points} ${points === 1 ? "value" : "values"}${spread}`;
    setText(this.#parts.note, this.#hovered ?? overall);
    if (to * 1000 - this.#describedAt >= DESCRIBE_EVERY_MS) {
      this.#describedAt = to * 1000;
      const name = humanise(this.series.name);
      const last = formatNumber(this.series.last);
      this.#parts.chart.setAttribute("aria-label", `${name}: last value ${last}, ${overall}`);
    }
  }

  #onCursor = (chart) => {
    const index = chart.cursor.idx;
    const value = index === null || index === undefined ? null : this.series.values[index];
    this.#hovered =
      value === null || value === undefined
        ? null
        : `${formatNumber(value)} at ${formatTime(this.series.times[index] * 1000)}`;
    this.#writeNote();
  };

  #chartOptions(width) {
    const colour = (name) => getComputedStyle(this.element).getPropertyValue(name).trim();
    const axis = {
      stroke: () => colour("--muted"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: () => colour("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: CHART_HEIGHT,
      padding: [8, 22, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { size: 8 },
        // One time under the pointer in all charts.
        sync: { key: "metrics", setSeries: false },
      },
      scales: { x: { range: () => this.#range }, y: { range: (_, low, high) => padded(low, high) } },
      axes: [
        { ...axis, size: 24, gap: 4, space: 78, values: "{HH}:{mm}:{ss}" },
        { ...axis, size: 46, gap: 6, space: 24, values: (_, ticks) => ticks.map(formatNumber) },
      ],
      series: [
        {},
        {
          stroke: () => colour("--series"),
          fill: (chart) => fade(chart, colour("--series")),
          width: 2,
          points: { size: 5, fill: () => colour("--series") },
        },
      ],
      hooks: { setCursor: [this.#onCursor] },
    };
  }
}

function setText(element, text) {
  // Writing the same text would still dirty the layout, in every frame of every card.
  if (element.textContent !== text) element.textContent = text;
}

function formatRange({ low, high }) {
  return low === high ? `all ${formatNumber(low)}` : `${formatNumber(low)} to ${formatNumber(high)}`;
}

/** A margin over and under, also for a flat line and for no line at all. */
function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const margin = high > low ? (high - low) * 0.15 : Math.abs(high) * 0.1 || 1;
  return [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
}

function fade(chart, colour) {
  const { top, height } = chart.bbox;
  const gradient = chart.ctx.createLinearGradient(0, top, 0, top + height);
  // The style sheet writes these colours as #rrggbb; two more digits are the opacity.
  gradient.addColorStop(0, `${colour}40`);
  gradient.addColorStop(1, `${colour}05`);
  return gradient;
}

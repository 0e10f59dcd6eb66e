/** The cards of one company's metrics, in the order of arrival. */

import { MetricCard } from "./metric-card.js";
import { MetricSeries } from "./metric-series.js";

const MAX_METRICS = 24;

export class MetricGrid {
  /** Some metrics are not drawn, because there are too many. */
  hasMore = false;
  #cards = new Map();
  #host;
  #template;

  constructor(host, template) {
    this.#host = host;
    this.#template = template;
  }

  get size() {
    return this.#cards.size;
  }

  get names() {
    return [...this.#cards.keys()];
  }

  /** Show these series instead: what `toJSON()` gave. */
  show(series) {
    for (const card of this.#cards.values()) card.remove();
    this.#cards = new Map();
    this.hasMore = false;
    for (const one of series) this.#addCard(MetricSeries.fromJSON(one));
  }

  add(name, ms, value) {
    const card = this.#cards.get(name) ?? this.#addCard(new MetricSeries(name));
    card?.series.add(ms, value);
  }

  markGap() {
    for (const card of this.#cards.values()) card.series.markGap();
  }

  render(from, to) {
    for (const card of this.#cards.values()) card.render(from, to);
  }

  repaint() {
    for (const card of this.#cards.values()) card.repaint();
  }

  toJSON() {
    return [...this.#cards.values()].map((card) => card.series);
  }

  /** At the end: a new metric never moves one that is being looked at. */
  #addCard(series) {
    if (this.#cards.size >= MAX_METRICS) {
      this.hasMore = true;
      return null;
    }
    const card = new MetricCard(series, this.#template, this.#cards.size);
    this.#cards.set(series.name, card);
    this.#host.append(card.element);
    card.mount();
    return card;
  }
}

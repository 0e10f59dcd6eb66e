/** Values of one metric over time, the newest `MAX_POINTS` of them. No DOM in here. */

export const MAX_POINTS = 2000;
// A snapshot of 24 metrics must fit into a few hundred kilobytes of sessionStorage.
const SNAPSHOT_POINTS = 300;

export class MetricSeries {
  /** Seconds, ascending: what uPlot wants. `null` in `values` breaks the line. */
  times = [];
  values = [];
  /** Values received, also those that were dropped for age. */
  received = 0;
  last = null;
  previous = null;

  constructor(name) {
    this.name = name;
  }

  /** `ms` is the stream's time, which ascends with the sequence unless the server's clock steps. */
  add(ms, value) {
    this.received += 1;
    this.previous = this.last;
    this.last = value;
    this.#push(ms / 1000, value);
  }

  /** Events are missing here: draw no line across. */
  markGap() {
    if (this.values.length > 0 && this.values.at(-1) !== null) this.#push(this.times.at(-1), null);
  }

  /** Smallest and largest value since `fromSeconds`, and how many; null when there is none. */
  summary(fromSeconds) {
    let low = Infinity;
    let high = -Infinity;
    let count = 0;
    for (let i = this.times.length - 1; i >= 0 && this.times[i] >= fromSeconds; i -= 1) {
      const value = this.values[i];
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      count += 1;
    }
    return count > 0 ? { low, high, count } : null;
  }

  #push(seconds, value) {
    this.times.push(Math.max(seconds, this.times.at(-1) ?? 0));
    this.values.push(value);
    // Cutting half at once makes the cost of a value constant.
    if (this.times.length > 2 * MAX_POINTS) {
      this.times.splice(0, this.times.length - MAX_POINTS);
      this.values.splice(0, this.values.length - MAX_POINTS);
    }
  }

  /** The newest points, for a snapshot. */
  toJSON() {
    return {
      name: this.name,
      times: this.times.slice(-SNAPSHOT_POINTS),
      values: this.values.slice(-SNAPSHOT_POINTS),
      received: this.received,
      last: this.last,
      previous: this.previous,
    };
  }

  static fromJSON({ name, ...rest }) {
    return Object.assign(new MetricSeries(name), rest);
  }
}

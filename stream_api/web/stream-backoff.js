/** How long to wait before the next attempt: twice as long each time, half of it at random. */

// As the server spreads clients that reconnect by themselves after a drain.
const DRAIN_SPREAD_MS = [500, 5000];

export class Backoff {
  attempt = 0;
  #minMs;
  #maxMs;

  constructor(minMs, maxMs) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /** Milliseconds until the next attempt; never less than the server asked for. */
  next(atLeastMs = 0, isDrain = false) {
    this.attempt += 1;
    if (isDrain && this.attempt === 1) {
      const [low, high] = DRAIN_SPREAD_MS;
      return low + Math.random() * (high - low);
    }
    const ceiling = Math.min(this.#maxMs, this.#minMs * 2 ** this.attempt);
    // Clients that were cut together do not come back together.
    return Math.max(atLeastMs, ceiling / 2) + (Math.random() * ceiling) / 2;
  }

  reset() {
    this.attempt = 0;
  }
}

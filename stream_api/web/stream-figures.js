/** Figures about the stream as a whole: how many events, how fast, how late. No DOM in here. */

const RATE_WINDOW_MS = 5000;
const RATE_SLOTS = 20;
const SLOT_MS = RATE_WINDOW_MS / RATE_SLOTS;
const MAX_DELAYS = 50;

export class StreamFigures {
  events = 0;
  lastEventMs = null;
  #delays = [];
  // Counts a quarter of a second, not times an event: a replay may bring 100,000 at once.
  #slots = new Map();

  /** An event of stream time `eventMs` came at `nowMs`, both by the server's clock. */
  add(eventMs, nowMs, isLive) {
    this.events += 1;
    this.lastEventMs = eventMs;
    const slot = Math.floor(nowMs / SLOT_MS);
    this.#slots.set(slot, (this.#slots.get(slot) ?? 0) + 1);
    if (this.#slots.size > 2 * RATE_SLOTS) this.#forget(slot);
    // A replayed event is late by nature and says nothing about the way it came.
    if (isLive) {
      this.#delays.push(Math.max(0, nowMs - eventMs));
      if (this.#delays.length > MAX_DELAYS) this.#delays.shift();
    }
  }

  /** Events a second over the last five seconds. */
  rate(nowMs) {
    this.#forget(Math.floor(nowMs / SLOT_MS));
    let sum = 0;
    for (const count of this.#slots.values()) sum += count;
    return (sum * 1000) / RATE_WINDOW_MS;
  }

  /** Median delay of the last live events in milliseconds; null before the first. */
  get delayMs() {
    if (this.#delays.length === 0) return null;
    const sorted = [...this.#delays].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }

  toJSON() {
    return { events: this.events, lastEventMs: this.lastEventMs };
  }

  static fromJSON({ events, lastEventMs }) {
    return Object.assign(new StreamFigures(), { events, lastEventMs });
  }

  #forget(nowSlot) {
    for (const slot of this.#slots.keys()) {
      if (slot <= nowSlot - RATE_SLOTS) this.#slots.delete(slot);
    }
  }
}

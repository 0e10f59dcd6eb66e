/**
 * StreamClient: one company's live events, for this dashboard and for any other page.
 *
 *   const client = new StreamClient({ companyId: "acme" });
 *   client.addEventListener("update", ({ detail }) => console.log(detail.type, detail.data));
 *   client.addEventListener("gap", ({ detail }) => console.log("reload your figures", detail.reason));
 *   client.addEventListener("state", ({ detail }) => console.log(detail.state));
 *   client.start();
 *
 * Events (`CustomEvent`, facts in `detail`):
 *   update   { type, id, subject, sequence, timeMs, data }  one event of the company, in order, once
 *   gap      { reason, oldestAvailable }                    events are missing; never silent
 *   state    { state, reason, message, replayed, attempt, delayMs, serverTime, companyId }
 *   invalid  { id, text }                                   an event that is no JSON
 *
 * States: idle → connecting → live ⇄ reconnecting; `polling` where no stream can be held; `ended`
 * when asking again can't help: a new token or another company is needed, then `start()`.
 *
 * The first reconnect is the browser's own, at the time that the server asked for. Then, and always
 * with tickets (the browser would present a spent one again), this class waits with backoff and
 * jitter and opens a new EventSource behind the last id. The last id is kept in sessionStorage, so
 * that a reload resumes where the page stopped. How to use it: `docs/client-module.md`.
 */

import { Backoff } from "./stream-backoff.js";
import { StreamPosition } from "./stream-position.js";
import { DATA_EVENTS, parseId, parseObject, readOnce, streamUrl } from "./stream-request.js";

export { DATA_EVENTS, parseId } from "./stream-request.js";
export { ticketsFrom } from "./stream-tickets.js";

// Asking again brings the same refusal: the request itself has to change.
const FINAL_STATUSES = new Set([400, 401, 403, 501]);
// Native EventSource waits up to 5 s after a drain before it asks again.
const NATIVE_PAUSE_MS = 5000;

export class StreamClient extends EventTarget {
  #options;
  #source = null;
  #state = "idle";
  #position;
  #backoff;
  #run = 0; // Grows with every start and stop; answers that belong to an older run are ignored.
  #wasLive = false;
  #pollingSince = null;
  #timer = null;
  #watchdog = null;
  #endReason = null;

  /**
   * @param {object} options
   * @param {string} [options.companyId]      left out: the token's own
   * @param {string|URL} [options.url]        default: `/stream/updates` of where this module is from
   * @param {string[]} [options.types]        only these event names; default all
   * @param {string|null} [options.lastEventId] resume here; default: what sessionStorage remembers
   * @param {Storage|null} [options.storage]  null: remember nothing over a reload
   * @param {() => Promise<string>} [options.getTicket] a new one-time ticket for each connection;
   *   `ticketsFrom()` makes one. An error with a final `status` (401, 403) ends the client.
   * @param {boolean} [options.withCredentials] send cookies to another origin
   * @param {number} [options.minDelayMs]     first pause of the backoff
   * @param {number} [options.maxDelayMs]     longest pause of the backoff
   * @param {number} [options.connectTimeoutMs] nothing heard for so long: poll instead
   * @param {number} [options.pollEveryMs]    pause between two polls
   * @param {number} [options.streamAgainMs]  after so long of polling a stream is tried again
   */
  constructor(options = {}) {
    super();
    this.#options = {
      url: new URL("../stream/updates", import.meta.url),
      types: DATA_EVENTS,
      getTicket: null,
      withCredentials: false,
      minDelayMs: 500,
      maxDelayMs: 20000,
      connectTimeoutMs: 10000,
      pollEveryMs: 5000,
      streamAgainMs: 300000,
      ...options,
    };
    this.#position = new StreamPosition(this.#options);
    this.#backoff = new Backoff(this.#options.minDelayMs, this.#options.maxDelayMs);
  }

  get companyId() {
    return this.#options.companyId ?? null;
  }

  get state() {
    return this.#state;
  }

  /** Id of the last event received, or a position; null before the first answer. */
  get lastEventId() {
    return this.#position.id;
  }

  start() {
    this.stop();
    for (const [name, listener] of this.#listeners) addEventListener(name, listener);
    this.#wasLive = false;
    this.#open();
  }

  /** Close without a word; `start()` resumes after the last id. */
  stop() {
    for (const [name, listener] of this.#listeners) removeEventListener(name, listener);
    this.#close();
    this.#pollingSince = null;
    this.#backoff.reset();
    this.#position.save();
    this.#state = "idle";
  }

  /** Open anew: for a page that knows that the connection is dead before the browser does. */
  reopen(reason = "connection lost") {
    if (this.#state === "idle" || this.#state === "ended") return;
    this.#close();
    this.#retry({ reason });
  }

  #listeners = Object.entries({
    // Without this a laptop that wakes up waits out its backoff.
    online: () => this.#timer !== null && this.#open(),
    // The browser does not close a stream whose network has gone: it would look live for minutes.
    offline: () => this.reopen("offline"),
    pagehide: () => this.#position.save(),
    // Back from the back-forward cache: the browser closed the stream without an event.
    pageshow: (event) => event.persisted && this.#open(),
  });

  async #open() {
    this.#close();
    const run = this.#run;
    if (this.#pollingSince === null) this.#becomeWaiting({ attempt: this.#backoff.attempt });
    const address = await this.#address();
    if (address === null || run !== this.#run) return;
    const { types, withCredentials } = this.#options;
    const source = new EventSource(address, { withCredentials });
    this.#source = source;
    for (const type of [...types, "connected", "reset", "bye"]) {
      source.addEventListener(type, (message) => {
        if (source === this.#source) this.#onMessage(message);
      });
    }
    source.addEventListener("error", () => {
      if (source === this.#source) this.#onError(source);
    });
    this.#expectWord(this.#options.connectTimeoutMs);
  }

  #close() {
    this.#run += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#timer = null;
    this.#watchdog = null;
    this.#endReason = null;
    this.#source?.close();
    this.#source = null;
  }

  /** A proxy that collects the whole answer before it sends a byte: nothing would ever come. */
  #expectWord(ms) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#poll("no answer"), ms);
  }

  #onMessage(message) {
    if (this.#watchdog !== null) this.#expectWord(this.#options.connectTimeoutMs);
    this.#deliver(message);
    if (message.type === "bye") this.#onBye(parseObject(message.data));
    if (message.type !== "connected") return;
    clearTimeout(this.#watchdog);
    this.#watchdog = null;
    this.#backoff.reset();
    this.#wasLive = true;
    this.#pollingSince = null;
    const { replayed = 0, timestamp = null, companyId } = parseObject(message.data);
    this.#become("live", { replayed, serverTime: timestamp, companyId });
  }

  /** What a stream and a poll have in common. */
  #deliver({ type, data, lastEventId }) {
    // The position before `connected` dispatches nothing; it shows as the next event's last id.
    this.#position.remember(lastEventId);
    if (type === "reset") this.#tell("gap", parseObject(data));
    if (!DATA_EVENTS.includes(type)) return;
    try {
      this.#tell("update", { type, ...parseId(lastEventId), data: JSON.parse(data) });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#tell("invalid", { id: lastEventId, text: data });
    }
  }

  #onBye({ reason = "closed" }) {
    this.#endReason = reason;
    if (reason !== "token_expired" || this.#options.getTicket) return;
    this.#end({ reason, message: "The session has expired. Sign in again." });
  }

  #onError(source) {
    const reason = this.#endReason ?? "connection lost";
    const browserTriesAgain = source.readyState === EventSource.CONNECTING;
    if (browserTriesAgain && !this.#options.getTicket && this.#watchdog === null) {
      this.#endReason = null;
      this.#becomeWaiting({ reason });
      this.#expectWord(NATIVE_PAUSE_MS + this.#options.connectTimeoutMs);
      return;
    }
    this.#close();
    if (browserTriesAgain) this.#retry({ reason });
    // The browser hides the answer that it gave up on: ask once more and read it.
    else this.#poll("refused");
  }

  /** Ask for all up to now by one short answer; go on by what it says. */
  async #poll(reason) {
    this.#close();
    const run = this.#run;
    if (this.#pollingSince === null) this.#becomeWaiting({ reason });
    const address = await this.#address({ once: "true" });
    if (address === null || run !== this.#run) return;
    const { withCredentials, connectTimeoutMs, pollEveryMs, streamAgainMs } = this.#options;
    let connected = null;
    const answer = await readOnce(address, {
      withCredentials,
      silenceMs: connectTimeoutMs,
      onMessage: (message) => {
        if (run !== this.#run) return;
        this.#deliver(message);
        if (message.type === "connected") connected = parseObject(message.data);
      },
    });
    if (run !== this.#run) return;
    if (FINAL_STATUSES.has(answer.status)) {
      this.#end({ reason: `status ${answer.status}`, message: answer.message });
    } else if (connected === null || reason === "refused") {
      this.#pollingSince = null;
      this.#retry({ reason: answer.status ? `status ${answer.status}` : "no answer", ...answer });
    } else {
      this.#backoff.reset();
      this.#pollingSince ??= Date.now();
      const { timestamp = null, companyId } = connected;
      this.#become("polling", { delayMs: pollEveryMs, serverTime: timestamp, companyId });
      const isTime = Date.now() - this.#pollingSince >= streamAgainMs;
      if (isTime) this.#pollingSince = Date.now();
      this.#timer = setTimeout(() => (isTime ? this.#open() : this.#poll("polling")), pollEveryMs);
    }
  }

  #retry({ reason, message, retryAfterMs = 0 }) {
    const delayMs = this.#backoff.next(retryAfterMs, reason === "drain");
    this.#becomeWaiting({ reason, message, attempt: this.#backoff.attempt, delayMs });
    this.#timer = setTimeout(() => this.#open(), delayMs);
  }

  #end(detail) {
    this.#close();
    this.#position.save();
    this.#become("ended", detail);
  }

  /** Where to ask, with a fresh ticket; null after a failure, which is told and dealt with. */
  async #address(more = {}) {
    const run = this.#run;
    try {
      const ticket = (await this.#options.getTicket?.()) ?? null;
      return streamUrl(this.#options, { lastEventId: this.#position.id, ticket, ...more });
    } catch (error) {
      if (run !== this.#run) return null;
      const { status = 0, message, retryAfterMs } = error;
      if (FINAL_STATUSES.has(status)) this.#end({ reason: `status ${status}`, message });
      // The network's own words ("Failed to fetch") say nothing to a person.
      else this.#retry({ reason: "no ticket", message: status ? message : undefined, retryAfterMs });
      return null;
    }
  }

  #becomeWaiting(detail) {
    this.#become(this.#wasLive ? "reconnecting" : "connecting", detail);
  }

  #become(state, detail = {}) {
    this.#state = state;
    this.#tell("state", { state, ...detail });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

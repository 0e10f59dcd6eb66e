/**
 * StreamClient: one company's live events, for this dashboard and for any other page.
 *
 *   const client = new StreamClient({ companyId: "acme" });
 *   client.addEventListener("update", ({ detail }) => console.log(detail.type, detail.data));
 *   client.addEventListener("state", ({ detail }) => console.log(detail.state));
 *   client.start();
 *
 * Events (`CustomEvent`, facts in `detail`):
 *   update  { type, id, subject, sequence, timeMs, data }   one event of the company, in order
 *   state   { state, reason, message, replayed, attempt, delayMs, serverTime }
 *   reset   { reason, oldestAvailable }                     events are missing: a gap, never silent
 *
 * States: connecting → live ⇄ reconnecting, and `ended` when trying again can't help.
 *
 * The browser's EventSource reconnects by itself after a dropped connection and sends the last id.
 * It gives up for good after any answer but 200, hides that answer, and would present a spent
 * ticket again. Then this class asks what was wrong, waits with backoff and jitter, and opens a new
 * EventSource with the last id (and a new ticket). The last id is kept in sessionStorage, so that
 * a reload resumes where the page stopped.
 */

export const DATA_EVENTS = [
  "metric_updated",
  "journey_flag_updated",
  "vis_updated",
  "sroi_updated",
];

// Asking again brings the same refusal: the request itself has to change.
const FINAL_STATUSES = new Set([400, 401, 403, 501]);
const PROBE_TIMEOUT_MS = 5000;
const SAVE_EVERY_MS = 1000;

export class StreamClient extends EventTarget {
  #options;
  #source = null;
  #state = "idle";
  #lastEventId;
  #run = 0; // Grows with every start and stop; answers that belong to an older run are ignored.
  #attempt = 0;
  #wasLive = false;
  #retryTimer = null;
  #saveTimer = null;
  #endReason = null;

  /**
   * @param {object} options
   * @param {string} options.companyId
   * @param {string} [options.url]            relative to the page, so that a path prefix works
   * @param {string[]} [options.types]        only these event names; default all
   * @param {string|null} [options.lastEventId] resume here; default: what sessionStorage remembers
   * @param {Storage|null} [options.storage]  null: remember nothing over a reload
   * @param {() => Promise<string>} [options.getTicket] a new one-time ticket for each connection
   * @param {boolean} [options.withCredentials] send cookies to another origin
   */
  constructor(options) {
    super();
    this.#options = {
      url: "stream/updates",
      types: DATA_EVENTS,
      storage: sessionStorageIfAllowed(),
      getTicket: null,
      withCredentials: false,
      minDelayMs: 500,
      maxDelayMs: 20000,
      ...options,
    };
    this.#lastEventId = options.lastEventId ?? this.#remembered();
  }

  get companyId() {
    return this.#options.companyId;
  }

  get state() {
    return this.#state;
  }

  /** Id of the last event received, or a position; null before the first answer. */
  get lastEventId() {
    return this.#lastEventId;
  }

  start() {
    this.stop();
    addEventListener("online", this.#onOnline);
    addEventListener("pagehide", this.#onPageHide);
    addEventListener("pageshow", this.#onPageShow);
    this.#wasLive = false;
    this.#attempt = 0;
    this.#open();
  }

  /** Close without a word; `start()` resumes after the last id. */
  stop() {
    removeEventListener("online", this.#onOnline);
    removeEventListener("pagehide", this.#onPageHide);
    removeEventListener("pageshow", this.#onPageShow);
    this.#close();
    this.#save();
    this.#state = "idle";
  }

  #onOnline = () => {
    // Without this a laptop that wakes up waits out its backoff.
    if (this.#retryTimer !== null) this.#open();
  };

  #onPageHide = () => this.#save();

  #onPageShow = (event) => {
    // Back from the back-forward cache: the browser closed the stream without an event.
    if (event.persisted) this.#open();
  };

  async #open() {
    this.#close();
    const run = this.#run;
    this.#become(this.#wasLive ? "reconnecting" : "connecting", { attempt: this.#attempt });
    let ticket = null;
    if (this.#options.getTicket) {
      try {
        ticket = await this.#options.getTicket();
      } catch (error) {
        if (run === this.#run) this.#retry({ reason: "ticket", message: String(error.message) });
        return;
      }
      if (run !== this.#run) return;
    }
    const { withCredentials } = this.#options;
    const source = new EventSource(this.#address(ticket), { withCredentials });
    this.#source = source;
    for (const type of this.#options.types) source.addEventListener(type, this.#onData);
    source.addEventListener("connected", this.#onConnected);
    source.addEventListener("reset", this.#onReset);
    source.addEventListener("bye", this.#onBye);
    source.addEventListener("error", () => {
      if (source === this.#source) this.#onError(source);
    });
  }

  #close() {
    this.#run += 1;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#endReason = null;
    this.#source?.close();
    this.#source = null;
  }

  #onData = (message) => {
    this.#remember(message.lastEventId);
    let data;
    try {
      data = JSON.parse(message.data);
    } catch {
      this.#tell("invalid", { id: message.lastEventId, text: message.data });
      return;
    }
    this.#tell("update", { type: message.type, ...parseId(message.lastEventId), data });
  };

  #onConnected = (message) => {
    // The position before `connected` dispatches nothing; it shows as this event's last id.
    this.#remember(message.lastEventId);
    const { replayed = 0, timestamp = null } = parseObject(message.data);
    this.#attempt = 0;
    this.#wasLive = true;
    this.#become("live", { replayed, serverTime: timestamp });
  };

  #onReset = (message) => {
    this.#remember(message.lastEventId);
    this.#tell("reset", parseObject(message.data));
  };

  #onBye = (message) => {
    this.#remember(message.lastEventId);
    const { reason = "closed" } = parseObject(message.data);
    this.#endReason = reason;
    if (reason === "token_expired" && !this.#options.getTicket) {
      this.#close();
      this.#become("ended", { reason, message: "The session has expired. Sign in again." });
    }
  };

  #onError(source) {
    const reason = this.#endReason ?? "connection lost";
    if (source.readyState === EventSource.CONNECTING && !this.#options.getTicket) {
      this.#endReason = null;
      this.#become(this.#wasLive ? "reconnecting" : "connecting", { reason });
      return;
    }
    const givenUp = source.readyState === EventSource.CLOSED;
    this.#close();
    if (givenUp) this.#explainAndRetry();
    else this.#retry({ reason });
  }

  /** The browser hides the answer it gave up on: ask once more and read it. */
  async #explainAndRetry() {
    const run = this.#run;
    this.#become(this.#wasLive ? "reconnecting" : "connecting", { reason: "refused" });
    const answer = await this.#probe();
    if (run !== this.#run) return;
    if (FINAL_STATUSES.has(answer.status)) {
      this.#become("ended", { reason: `status ${answer.status}`, message: answer.message });
    } else {
      this.#retry({
        reason: answer.status ? `status ${answer.status}` : "no answer",
        message: answer.message,
        atLeastMs: answer.retryAfterMs,
      });
    }
  }

  async #probe() {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PROBE_TIMEOUT_MS);
    try {
      const ticket = (await this.#options.getTicket?.()) ?? null;
      const response = await fetch(this.#address(ticket), {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        credentials: this.#options.withCredentials ? "include" : "same-origin",
        signal: abort.signal,
      });
      if (response.ok) return { status: response.status };
      const retryAfterMs = Number(response.headers.get("Retry-After")) * 1000 || 0;
      const { message } = await response.json().catch(() => ({}));
      return { status: response.status, message, retryAfterMs };
    } catch {
      return { status: 0 };
    } finally {
      clearTimeout(timer);
      abort.abort(); // An answer of 200 is a whole stream: read no further.
    }
  }

  #retry({ reason, message, atLeastMs = 0 }) {
    const { minDelayMs, maxDelayMs } = this.#options;
    this.#attempt += 1;
    const ceiling = Math.min(maxDelayMs, minDelayMs * 2 ** this.#attempt);
    // Half fixed, half random: clients that were cut together do not come back together.
    const delayMs = Math.max(atLeastMs, ceiling / 2) + (Math.random() * ceiling) / 2;
    this.#become(this.#wasLive ? "reconnecting" : "connecting", {
      reason,
      message,
      attempt: this.#attempt,
      delayMs,
    });
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
  }

  #address(ticket) {
    const url = new URL(this.#options.url, document.baseURI);
    url.searchParams.set("companyId", this.#options.companyId);
    if (this.#lastEventId) url.searchParams.set("lastEventId", this.#lastEventId);
    if (this.#options.types.length < DATA_EVENTS.length) {
      url.searchParams.set("types", this.#options.types.join(","));
    }
    if (ticket) url.searchParams.set("ticket", ticket);
    return url.href;
  }

  #become(state, detail = {}) {
    this.#state = state;
    this.#tell("state", { state, ...detail });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  get #storageKey() {
    return `stream-position:${this.#options.url}:${this.#options.companyId}`;
  }

  #remembered() {
    try {
      return this.#options.storage?.getItem(this.#storageKey) ?? null;
    } catch {
      return null; // Storage may be forbidden; then a reload starts live.
    }
  }

  #remember(id) {
    if (!id || id === this.#lastEventId) return;
    this.#lastEventId = id;
    // Storage is synchronous: a write an event would cost more than the event.
    this.#saveTimer ??= setTimeout(() => this.#save(), SAVE_EVERY_MS);
  }

  #save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    try {
      if (this.#lastEventId) this.#options.storage?.setItem(this.#storageKey, this.#lastEventId);
    } catch {
      // Full or forbidden: the stream itself is not harmed.
    }
  }
}

function sessionStorageIfAllowed() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // Reading the property itself throws where the browser forbids storage.
  }
}

/** `<subject>-<sequence>-<ms>`, read from the right because a subject may hold hyphens. */
export function parseId(id) {
  const match = /^(.+)-(\d+)-(\d+)$/.exec(id);
  if (!match) return { id, subject: "", sequence: null, timeMs: null };
  return { id, subject: match[1], sequence: Number(match[2]), timeMs: Number(match[3]) };
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

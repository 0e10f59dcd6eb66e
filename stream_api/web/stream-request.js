/** Addresses, ids and short answers of `/stream/updates`. */

export const DATA_EVENTS = [
  "metric_updated",
  "journey_flag_updated",
  "vis_updated",
  "sroi_updated",
];

/** The address of a stream: options as of StreamClient, and what belongs to this one connection. */
export function streamUrl({ url, companyId, types }, { lastEventId, ticket, once }) {
  const address = new URL(url, document.baseURI);
  const set = (name, value) => value && address.searchParams.set(name, value);
  set("companyId", companyId);
  set("lastEventId", lastEventId);
  set("types", types.length < DATA_EVENTS.length ? types.join(",") : null);
  set("ticket", ticket);
  set("once", once);
  return address.href;
}

/** `<subject>-<sequence>-<ms>`, read from the right because a subject may hold hyphens. */
export function parseId(id) {
  const match = /^(.+)-(\d+)-(\d+)$/.exec(id);
  if (!match) return { id, subject: "", sequence: null, timeMs: null };
  return { id, subject: match[1], sequence: Number(match[2]), timeMs: Number(match[3]) };
}

export function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

/**
 * Read an answer of `once=true` to its end. Never throws.
 *
 * Calls `onMessage({ type, data, lastEventId })` for each event, and gives up when nothing comes
 * for `silenceMs`. Returns { status, message, retryAfterMs }; status 0 means no whole answer.
 */
export async function readOnce(address, { withCredentials, silenceMs, onMessage }) {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), silenceMs);
  try {
    const response = await fetch(address, {
      headers: { Accept: "text/event-stream" },
      cache: "no-store",
      credentials: withCredentials ? "include" : "same-origin",
      signal: abort.signal,
    });
    if (!response.ok) return await readRefusal(response);
    const parser = new EventParser(onMessage);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), silenceMs);
      parser.push(part.value);
    }
    return { status: response.status };
  } catch {
    return { status: 0 };
  } finally {
    clearTimeout(timer);
  }
}

/** What a refusal says: { status, message, retryAfterMs }. */
export async function readRefusal(response) {
  const retryAfterMs = Number(response.headers.get("Retry-After")) * 1000 || 0;
  const { message } = await response.json().catch(() => ({}));
  return { status: response.status, message, retryAfterMs };
}

/** Server-Sent Events out of text in pieces, as a browser reads them. */
class EventParser {
  #rest = "";
  #type = "";
  #data = [];
  #lastEventId = "";
  #onMessage;

  constructor(onMessage) {
    this.#onMessage = onMessage;
  }

  push(text) {
    this.#rest += text;
    const lines = this.#rest.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#read(line);
  }

  #read(line) {
    if (line === "") {
      this.#dispatch();
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#lastEventId = value;
  }

  #dispatch() {
    const [type, data] = [this.#type || "message", this.#data];
    this.#type = "";
    this.#data = [];
    if (data.length === 0) return;
    this.#onMessage({ type, data: data.join("\n"), lastEventId: this.#lastEventId });
  }
}

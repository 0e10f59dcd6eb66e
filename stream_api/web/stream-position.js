/** The last id of a stream, kept in sessionStorage so that a reload of the tab resumes behind it. */

const SAVE_EVERY_MS = 1000;

export class StreamPosition {
  #id;
  #key;
  #storage;
  #timer = null;

  /** Options as of StreamClient; a given `lastEventId` goes before the remembered one. */
  constructor({ url, companyId = "", lastEventId = null, storage = storageIfAllowed() }) {
    this.#key = `stream-position:${new URL(url, document.baseURI).pathname}:${companyId}`;
    this.#storage = storage;
    this.#id = lastEventId ?? this.#load();
  }

  get id() {
    return this.#id;
  }

  remember(id) {
    if (!id || id === this.#id) return;
    this.#id = id;
    // Storage is synchronous: a write an event would cost more than the event.
    this.#timer ??= setTimeout(() => this.save(), SAVE_EVERY_MS);
  }

  save() {
    clearTimeout(this.#timer);
    this.#timer = null;
    try {
      if (this.#id) this.#storage?.setItem(this.#key, this.#id);
    } catch {
      // Full or forbidden: the stream itself is not harmed.
    }
  }

  #load() {
    try {
      return this.#storage?.getItem(this.#key) ?? null;
    } catch {
      return null; // Storage may be forbidden; then a reload starts live.
    }
  }
}

function storageIfAllowed() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null; // Reading the property itself throws where the browser forbids storage.
  }
}

/**
 * Who looks at the page. With authentication on: a token that a person pastes, kept in this tab's
 * sessionStorage only, sent as a header and never in an address; or a cookie, which the page can't
 * read.
 *
 * The claims are read to fill in the page. They prove nothing: the server decides.
 */

import { readRefusal } from "./stream-request.js";
import { ticketsFrom } from "./stream-tickets.js";

const KEY = "dashboard:token";
const ADMIN_ROLES = new Set(["system_admin", "super_admin"]);
// The first comparison of an instance loads its statistics library, which takes seconds.
const TIMEOUT_MS = 60_000;

/** An answer other than 2xx; `message` is the server's own. */
export class ApiError extends Error {
  constructor({ status, message }) {
    super(message ?? `the server answered ${status}`);
    this.status = status;
  }
}

export class Session {
  #token = load();

  get isSignedIn() {
    return this.#token !== null;
  }

  /** { companyId, user, isAdmin, expiresMs } of the token; null without one. */
  get claims() {
    return this.#token === null ? null : readClaims(this.#token);
  }

  /** For StreamClient; null where a cookie, or nothing, is the way in. */
  get getTicket() {
    return this.#token === null ? null : ticketsFrom(() => this.#token, "stream/ticket");
  }

  /** Keep a token that the server accepts. Throws what is wrong with it, fit to be shown. */
  async signIn(text) {
    const token = text.trim().replace(/^Bearer\s+/i, "");
    const claims = readClaims(token);
    if (claims === null) throw new Error("This is no token: it has three parts with two dots.");
    await ticketsFrom(() => token, "stream/ticket")();
    this.#token = token;
    save(token);
    return claims;
  }

  signOut() {
    this.#token = null;
    save(null);
  }

  /** Fetch from this origin's API. Throws ApiError, or TypeError where there is no network. */
  async fetch(path, { headers = {}, ...options } = {}) {
    const bearer = this.#token === null ? {} : { Authorization: `Bearer ${this.#token}` };
    const response = await fetch(path, {
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...options,
      headers: { ...headers, ...bearer },
    });
    if (!response.ok) throw new ApiError(await readRefusal(response));
    return response;
  }
}

function readClaims(token) {
  try {
    const [, payload, signature] = token.split(".");
    if (!signature) return null;
    const bytes = Uint8Array.from(
      atob(payload.replaceAll("-", "+").replaceAll("_", "/")),
      (letter) => letter.charCodeAt(0),
    );
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    const roles = [claims.roles ?? claims.role ?? []].flat();
    return {
      companyId: claims.companyId ?? null,
      user: claims.sub ?? claims.userId ?? null,
      isAdmin: roles.some((role) => ADMIN_ROLES.has(role)),
      expiresMs: claims.exp * 1000,
    };
  } catch {
    return null;
  }
}

function load() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // Storage may be forbidden: the token then lives as long as the page.
  }
}

function save(token) {
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

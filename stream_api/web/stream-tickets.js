/**
 * One-time tickets. A browser's EventSource sets no headers, and a token must not stand in an
 * address, where logs and histories keep it: the ticket does, and is worth nothing afterwards.
 */

import { readRefusal } from "./stream-request.js";

/** The server refused a ticket; `status` 401 means that a new token is needed. */
export class TicketError extends Error {
  constructor({ status, message, retryAfterMs }) {
    super(message ?? `no ticket: status ${status}`);
    this.name = "TicketError";
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * The option `getTicket` of StreamClient.
 *
 * @param {() => string|Promise<string>} getToken called for each ticket, so that it may renew it
 * @param {string|URL} [url] default: `/stream/ticket` of where this module is from
 * @returns {() => Promise<string>} throws TicketError; TypeError where there is no network
 */
export function ticketsFrom(getToken, url = new URL("../stream/ticket", import.meta.url)) {
  return async () => {
    const response = await fetch(url, {
      method: "POST",
      headers: { Authorization: `Bearer ${await getToken()}` },
      cache: "no-store",
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new TicketError(await readRefusal(response));
    return (await response.json()).ticket;
  };
}

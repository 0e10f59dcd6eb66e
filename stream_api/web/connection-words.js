/** A state of StreamClient in words short enough for the top bar of a phone. Pure functions. */

import { formatDuration } from "./format.js";

const integer = new Intl.NumberFormat("en");
const REASONS = {
  drain: "the server restarts",
  offline: "no network",
  refused: "refused",
  "no answer": "no answer",
};

export function describeState({ state, reason, message, replayed, delayMs }) {
  if (state === "idle") return "Not connected";
  if (state === "live") return replayed > 0 ? `Live, ${integer.format(replayed)} replayed` : "Live";
  if (state === "polling") return `Polling every ${formatDuration(delayMs)}`;
  if (state === "ended") return "Ended";
  const what = state === "connecting" ? "Connecting" : "Reconnecting";
  if (delayMs) return `${what} in ${formatDuration(delayMs)}`;
  return reason && !message ? `${what}: ${REASONS[reason] ?? reason}` : `${what}…`;
}

const GAPS = {
  unknown_id: "the place where this page stopped is not known any more",
  other_stream: "the stream was created anew",
  other_company: "the place where this page stopped is of another company",
  expired: "it was away for longer than events are kept for replay",
  history_unavailable: "older events could not be read just now",
};

export function describeGap({ reason, oldestAvailable }) {
  const why = reason ? `: ${GAPS[reason] ?? reason}` : "";
  const oldest = oldestAvailable ? ` Oldest available: ${oldestAvailable}.` : "";
  return `Some events could not be replayed${why}.${oldest}`;
}

/** What works and what does not, from `/health`, and what that means to a reader of the page. */

import { formatDuration } from "./format.js";

const POLL_MS = 3000;
const TIMEOUT_MS = 3000;
// The sink stores at least every ten seconds by default: less than that is no news.
const BEHIND_SECONDS = 30;

/**
 * Call `onReport(report)` every few seconds while the page is looked at; null when the server did
 * not answer in time.
 */
export function watchHealth(onReport) {
  async function poll() {
    if (document.hidden) return;
    onReport(await read());
  }
  setInterval(poll, POLL_MS);
  document.addEventListener("visibilitychange", poll);
  poll();
}

async function read() {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch("health", { cache: "no-store", signal });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

/** The sentence to show for a report; `age` is apart, since it changes all the time. */
export function describeOutage(report) {
  if (report === null) return null;
  const { dependencies, sink } = report;
  if (dependencies.nats === "degraded") {
    return { text: "NATS is down: no new events until it is back.", age: "" };
  }
  if (dependencies.clickhouse === "degraded") {
    return { text: "ClickHouse is down: live events go on; nothing is lost.", age: ageOf(sink) };
  }
  if (dependencies.postgres === "degraded") {
    return { text: "Postgres is down: live events go on; cohorts can’t be read.", age: "" };
  }
  if (sink.lagSeconds > BEHIND_SECONDS && dependencies.clickhouse !== "disabled") {
    return { text: "The warehouse is catching up.", age: ageOf(sink) };
  }
  if (dependencies.redis === "degraded") {
    return { text: "Redis is down: each instance keeps its own cache.", age: "" };
  }
  return null;
}

function ageOf({ lagSeconds, lagEvents }) {
  if (!lagEvents) return "";
  return `Stored figures are ${formatDuration(lagSeconds * 1000)} old, ${lagEvents} events wait.`;
}

/** The figure of the strip: how far the warehouse is behind the stream. */
export function describeLag(report) {
  if (report === null || report.dependencies.clickhouse === "disabled") return "–";
  const { lagEvents, lagSeconds } = report.sink;
  return lagEvents ? formatDuration(lagSeconds * 1000) : "0 s";
}

/** `NATS ok, ClickHouse degraded, …` for the figure's description. */
export function describeDependencies(report) {
  if (report === null) return "the server does not answer";
  const names = { nats: "NATS", clickhouse: "ClickHouse", postgres: "Postgres", redis: "Redis" };
  return Object.entries(names)
    .filter(([key]) => report.dependencies[key] !== "disabled")
    .map(([key, name]) => `${name} ${report.dependencies[key]}`)
    .join(", ");
}

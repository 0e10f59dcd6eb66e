/**
 * The dashboard: wires the stream to the cards, the feed and the connection state.
 *
 * Events change the model at once and the page once a frame, however many arrive in between. Every
 * list is bounded, so that a tab may stay open for days.
 */

import { watchCompanies } from "./companies.js";
import { EventFeed, fieldsOf } from "./event-feed.js";
import { formatDuration, formatNumber, formatTime } from "./format.js";
import { MetricCard } from "./metric-card.js";
import { MetricSeries } from "./metric-series.js";
import { loadSnapshot, saveSnapshot } from "./snapshot.js";
import { StreamClient } from "./stream-client.js";
import { StreamFigures } from "./stream-figures.js";

const MAX_METRICS = 24;
// Between events the charts still move to the left.
const IDLE_FRAME_MS = 500;
// Below this two clocks count as the same: the difference would only measure how long `connected`
// took to be handled, and would be taken off every delay that is shown.
const CLOCK_TOLERANCE_MS = 2000;

const byId = (id) => document.getElementById(id);
const integer = new Intl.NumberFormat("en");
const feed = new EventFeed(byId("feed"), byId("item-template"));

let client = null;
let cards = new Map();
let figures = new StreamFigures();
let hasMoreMetrics = false;
// Server's clock minus ours: charts end at the server's now, whatever this machine's clock says.
let clockOffsetMs = 0;
let paused = false;
let frame = null;

const serverNow = () => Date.now() + clockOffsetMs;

/* --- Company */

function watch(companyId) {
  leave();
  show(companyId, loadSnapshot(companyId));
}

function leave() {
  if (client === null) return;
  keepSnapshot();
  client.stop();
  client = null;
}

function show(companyId, snapshot) {
  for (const card of cards.values()) card.remove();
  cards = new Map();
  hasMoreMetrics = false;
  figures = snapshot ? StreamFigures.fromJSON(snapshot.figures) : new StreamFigures();
  for (const series of snapshot?.series ?? []) addCard(MetricSeries.fromJSON(series));
  feed.show(snapshot?.feed ?? []);
  dismiss();
  byId("company").value = companyId;
  document.title = companyId ? `${companyId} · Impact analytics` : "Impact analytics";
  if (companyId) connect(companyId, snapshot?.lastEventId ?? null);
  else onState({ state: "idle" });
}

function connect(companyId, lastEventId) {
  client = new StreamClient({ companyId, lastEventId });
  client.addEventListener("state", ({ detail }) => onState(detail));
  client.addEventListener("update", ({ detail }) => onUpdate(detail));
  client.addEventListener("reset", ({ detail }) => onReset(detail));
  client.start();
}

function keepSnapshot() {
  if (!client?.lastEventId) return;
  saveSnapshot(client.companyId, {
    lastEventId: client.lastEventId,
    figures,
    series: [...cards.values()].map((card) => card.series),
    feed,
  });
}

/* --- Events */

function onUpdate(update) {
  const now = serverNow();
  const eventMs = update.timeMs ?? now;
  figures.add(eventMs, now, client.state === "live");
  if (update.type === "metric_updated") addMetric(update, eventMs);
  else feed.add(update);
  schedule();
}

function addMetric({ subject, data }, eventMs) {
  const { metricName, value } = fieldsOf(data);
  if (typeof value !== "number") return;
  const name = metricName ?? subject;
  const card = cards.get(name) ?? addCard(new MetricSeries(name));
  card?.series.add(eventMs, value);
}

/** In the order of arrival: a new metric never moves one that is being looked at. */
function addCard(series) {
  if (cards.size >= MAX_METRICS) {
    hasMoreMetrics = true;
    return null;
  }
  const card = new MetricCard(series, byId("card-template"), cards.size);
  cards.set(series.name, card);
  byId("cards").append(card.element);
  card.mount();
  return card;
}

function onReset({ reason, oldestAvailable }) {
  for (const card of cards.values()) card.series.markGap();
  const oldest = oldestAvailable ? ` Oldest available: ${oldestAvailable}.` : "";
  const why = reason ? ` (${reason})` : "";
  notify("gap", `Some events could not be replayed${why}.${oldest}`);
  schedule();
}

/* --- Connection */

function onState(detail) {
  const serverMs = new Date(detail.serverTime ?? NaN).getTime();
  if (Number.isFinite(serverMs)) {
    const differenceMs = serverMs - Date.now();
    clockOffsetMs = Math.abs(differenceMs) > CLOCK_TOLERANCE_MS ? differenceMs : 0;
  }
  byId("connection").dataset.state = detail.state;
  write("state", describeState(detail));
  byId("reconnect").hidden = detail.state !== "ended";
  if (detail.message) notify("refusal", detail.message);
  // A gap stays on the page until it is read; a refusal is over when the stream is live.
  else if (detail.state === "live" && byId("notice").dataset.about === "refusal") dismiss();
  schedule();
}

/** Short enough for the top bar of a phone; what the server said stands in the notice. */
function describeState({ state, reason, message, replayed, delayMs }) {
  if (state === "idle") return "Not connected";
  if (state === "live") return replayed > 0 ? `Live, ${integer.format(replayed)} replayed` : "Live";
  if (state === "ended") return "Ended";
  const what = state === "connecting" ? "Connecting" : "Reconnecting";
  if (delayMs) return `${what} in ${formatDuration(delayMs)}`;
  if (reason === "drain") return `${what}: the server restarts`;
  return reason && !message ? `${what}: ${reason}` : `${what}…`;
}

function notify(about, text) {
  byId("notice").dataset.about = about;
  byId("notice-text").textContent = text;
  byId("notice").hidden = false;
}

function dismiss() {
  byId("notice").hidden = true;
}

/* --- Drawing */

function schedule() {
  frame ??= requestAnimationFrame(draw);
}

function draw() {
  frame = null;
  if (paused) return;
  const { delayMs, lastEventMs } = figures;
  byId("main").dataset.events = String(figures.events);
  write("events", integer.format(figures.events));
  write("rate", formatNumber(figures.rate(serverNow())));
  write("delay", delayMs === null ? "–" : formatDuration(delayMs));
  write("last", lastEventMs === null ? "–" : formatTime(lastEventMs));

  const to = serverNow() / 1000;
  const from = to - Number(document.querySelector("#window :checked").value);
  for (const card of cards.values()) card.render(from, to);
  feed.render();

  byId("empty").hidden = cards.size > 0;
  byId("chips").hidden = client !== null;
  byId("feed-empty").hidden = byId("feed").childElementCount > 0;
  byId("more").hidden = !hasMoreMetrics;
  write("empty-text", describeEmpty());
}

function describeEmpty() {
  if (client === null) return "Choose a company to watch its metrics live.";
  if (client.state === "ended") return "No events are received.";
  return `Waiting for the first metric of ${client.companyId}.`;
}

function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

/* --- Controls */

function chosenCompany() {
  return new URL(location.href).searchParams.get("companyId") ?? "";
}

function choose(companyId) {
  if (companyId !== chosenCompany()) {
    const url = new URL(location.href);
    url.searchParams.set("companyId", companyId);
    history.pushState(null, "", url);
  }
  watch(companyId);
}

byId("picker").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(byId("company").value);
});

byId("pause").addEventListener("click", () => {
  paused = !paused;
  write("pause", paused ? "Resume" : "Pause");
  document.body.classList.toggle("paused", paused);
  schedule();
});

byId("window").addEventListener("change", schedule);
byId("reconnect").addEventListener("click", () => client?.start());
byId("notice-close").addEventListener("click", dismiss);
addEventListener("popstate", () => watch(chosenCompany()));
addEventListener("pagehide", keepSnapshot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const card of cards.values()) card.repaint();
});
setInterval(schedule, IDLE_FRAME_MS);

const companies = watchCompanies((ids) => {
  byId("companies").replaceChildren(...ids.map((id) => new Option(id, id)));
  byId("chips").replaceChildren(
    ...ids.slice(0, 12).map((id) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = id;
      chip.addEventListener("click", () => choose(id));
      return chip;
    }),
  );
});
byId("company").addEventListener("focus", companies.refresh);

watch(chosenCompany());

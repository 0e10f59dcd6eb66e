/**
 * The dashboard: wires the stream to the cards, the feed, the cohorts and the states.
 *
 * Events change the model at once and the page once a frame, however many arrive in between; a
 * hidden tab draws nothing. Every list is bounded, so that a tab may stay open for days.
 */

import { CohortPanel } from "./cohort-panel.js";
import { watchCompanies } from "./companies.js";
import { describeGap, describeState } from "./connection-words.js";
import { EventFeed, fieldsOf } from "./event-feed.js";
import { formatDuration, formatNumber, formatTime } from "./format.js";
import { describeDependencies, describeLag, describeOutage, watchHealth } from "./health.js";
import { MetricGrid } from "./metric-grid.js";
import { Session } from "./session.js";
import { SignIn } from "./sign-in.js";
import { loadSnapshot, saveSnapshot } from "./snapshot.js";
import { StreamClient } from "./stream-client.js";
import { StreamFigures } from "./stream-figures.js";

// Between events the charts still move to the left.
const IDLE_FRAME_MS = 500;
// Below this two clocks count as the same: the difference would only measure how long `connected`
// took to be handled, and would be taken off every delay that is shown.
const CLOCK_TOLERANCE_MS = 2000;
// Health that fails so often in a row while the stream looks live: the network is gone.
const MAX_SILENT_POLLS = 2;

const byId = (id) => document.getElementById(id);
const integer = new Intl.NumberFormat("en");
const session = new Session();
const grid = new MetricGrid(byId("cards"), byId("card-template"));
const feed = new EventFeed(byId("feed-items"), byId("item-template"));
const cohorts = new CohortPanel(byId("cohorts"), session);
const signIn = new SignIn(document, session, onSession);

let client = null;
let figures = new StreamFigures();
// Server's clock minus ours: charts end at the server's now, whatever this machine's clock says.
let clockOffsetMs = 0;
let silentPolls = 0;
let paused = false;
let frame = null;

const serverNow = () => Date.now() + clockOffsetMs;

/* --- Company */

/** Show a company; null is the token's or cookie's own, whose name the server tells. */
function watch(companyId) {
  leave();
  const snapshot = companyId ? loadSnapshot(companyId) : null;
  figures = snapshot ? StreamFigures.fromJSON(snapshot.figures) : new StreamFigures();
  grid.show(snapshot?.series ?? []);
  feed.show(snapshot?.feed ?? []);
  dismiss();
  byId("company").value = companyId ?? "";
  document.title = companyId ? `${companyId} · Impact analytics` : "Impact analytics";
  cohorts.show(companyId || null);
  if (companyId === "") onState({ state: "idle" });
  else connect(companyId, snapshot?.lastEventId ?? null);
}

function leave() {
  if (client === null) return;
  keepSnapshot();
  client.stop();
  client = null;
}

function connect(companyId, lastEventId) {
  const { getTicket } = session;
  const options = companyId ? { companyId } : { storage: null };
  client = new StreamClient({ url: "stream/updates", ...options, lastEventId, getTicket });
  client.addEventListener("state", ({ detail }) => onState(detail));
  client.addEventListener("update", ({ detail }) => onUpdate(detail));
  client.addEventListener("gap", ({ detail }) => onGap(detail));
  client.start();
}

function keepSnapshot() {
  if (!client?.lastEventId || !client.companyId) return;
  const { companyId, lastEventId } = client;
  saveSnapshot(companyId, { lastEventId, figures, series: grid, feed });
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
  if (typeof value === "number") grid.add(metricName ?? subject, eventMs, value);
}

function onGap(detail) {
  grid.markGap();
  notify("gap", describeGap(detail));
  schedule();
}

/* --- Connection and health */

function onState(detail) {
  if (client !== null && client.companyId === null && detail.companyId) {
    choose(detail.companyId);
    return;
  }
  const serverMs = new Date(detail.serverTime ?? NaN).getTime();
  if (Number.isFinite(serverMs)) {
    const differenceMs = serverMs - Date.now();
    clockOffsetMs = Math.abs(differenceMs) > CLOCK_TOLERANCE_MS ? differenceMs : 0;
  }
  byId("connection").dataset.state = detail.state;
  write("state", describeState(detail));
  byId("reconnect").hidden = detail.state !== "ended";
  if (["status 401", "token_expired"].includes(detail.reason) && detail.state === "ended") {
    dismiss();
    signIn.open(detail.message);
  } else if (detail.message) {
    notify("refusal", detail.message);
  } else if (detail.state === "live") {
    signIn.close();
    // A gap stays on the page until it is read; a refusal is over when the stream is live.
    if (byId("notice").dataset.about === "refusal") dismiss();
  }
  schedule();
}

function onHealth(report) {
  silentPolls = report === null ? silentPolls + 1 : 0;
  if (silentPolls >= MAX_SILENT_POLLS && client?.state === "live") client.reopen("no answer");
  if (report === null) return;
  const outage = describeOutage(report);
  byId("outage").hidden = outage === null;
  write("outage-text", outage?.text ?? "");
  write("outage-age", outage?.age ?? "");
  write("lag", describeLag(report));
  byId("lag").dataset.tone = report.dependencies.clickhouse === "degraded" ? "warn" : "";
  byId("lag-title").title = `From an event to the warehouse. ${describeDependencies(report)}`;
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
  grid.render(from, to);
  feed.render();

  byId("empty").hidden = grid.size > 0;
  byId("chips").hidden = client !== null;
  byId("feed-empty").hidden = byId("feed-items").childElementCount > 0;
  byId("more").hidden = !grid.hasMore;
  write("empty-text", describeEmpty());
}

function describeEmpty() {
  if (signIn.isOpen) return "Sign in to watch your company.";
  if (client === null) return "Choose a company to watch its metrics live.";
  if (client.state === "ended") return "No events are received.";
  return `Waiting for the first metric of ${client.companyId ?? "your company"}.`;
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

/** After signing in and out; what another person saw must not stay on the page. */
function onSession(claims) {
  companies.refresh();
  if (claims === null) watch("");
  else if (claims.isAdmin) watch(chosenCompany() || (claims.companyId ?? ""));
  else choose(claims.companyId);
  if (claims === null) signIn.open();
}

const companies = watchCompanies(session, ({ access, ids }) => {
  document.body.dataset.access = access;
  byId("company").readOnly = access === "own";
  byId("companies").replaceChildren(...ids.map((id) => new Option(id, id)));
  byId("chips").replaceChildren(...ids.slice(0, 12).map(chipOf));
  if (client !== null) return;
  if (access === "none") signIn.open();
  // A cookie can't be read: the server says whose it is.
  if (access === "own") watch(session.claims?.companyId ?? null);
});

function chipOf(id) {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.textContent = id;
  chip.addEventListener("click", () => choose(id));
  return chip;
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
byId("company").addEventListener("focus", companies.refresh);
addEventListener("popstate", () => watch(chosenCompany()));
addEventListener("pagehide", keepSnapshot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => grid.repaint());
setInterval(schedule, IDLE_FRAME_MS);
watchHealth(onHealth);
watch(chosenCompany());

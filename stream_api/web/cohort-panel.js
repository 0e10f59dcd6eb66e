/**
 * Cohorts of a company side by side: means with 95 % intervals, ranks, and pairs.
 *
 * The figures are asked for again every few seconds; the server answers out of its cache while the
 * data are the same, and the entity tag tells whether anything is to be drawn.
 */

import { compareCohorts, listCohorts, listMetrics } from "./cohort-data.js";
import { cohortRow, pairRow } from "./cohort-tables.js";
import { formatTime, humanise } from "./format.js";
import { drawAxis, scaleOf } from "./interval-plot.js";

const REFRESH_MS = 10_000;
// Cohorts and metrics come and go more seldom than values.
const LIST_EVERY = 6;
// All pairs of eight are 28 rows; more can be chosen.
const CHOSEN_AT_FIRST = 8;

export class CohortPanel {
  #session;
  #parts;
  #companyId = null;
  #cohorts = [];
  #metrics = [];
  #chosen = new Set();
  #etag = null;
  #round = 0;
  #run = 0; // Answers to an older question are thrown away.
  #isAsking = false;

  /** @param {HTMLElement} panel with parts named by `data-part` */
  constructor(panel, session) {
    this.#session = session;
    this.panel = panel;
    this.#parts = Object.fromEntries(
      [...panel.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]),
    );
    this.#parts.metric.addEventListener("change", () => this.#refresh());
    this.#parts.choice.addEventListener("change", () => this.#choose());
    setInterval(() => this.#refreshNowAndThen(), REFRESH_MS);
  }

  /** Show another company; null shows nothing. */
  show(companyId) {
    this.#companyId = companyId;
    this.#run += 1;
    this.#isAsking = false;
    this.#round = 0;
    this.#cohorts = [];
    this.#metrics = [];
    this.#chosen = new Set();
    this.#clear();
    this.panel.hidden = true;
    this.#refreshNowAndThen();
  }

  #refreshNowAndThen() {
    // A slow answer is waited for: asking again would throw it away each time.
    if (this.#companyId === null || document.hidden || this.#isAsking) return;
    if (this.#round % LIST_EVERY === 0) this.#list();
    else this.#refresh();
    this.#round += 1;
  }

  async #list() {
    await this.#ask(async (isCurrent) => {
      const cohorts = await listCohorts(this.#session, this.#companyId);
      const metrics = await listMetrics(this.#session, this.#companyId, cohorts);
      if (!isCurrent()) return;
      this.#showCohorts(cohorts);
      this.#showMetrics(metrics);
      await this.#compare(isCurrent);
    });
  }

  async #refresh() {
    await this.#ask((isCurrent) => this.#compare(isCurrent));
  }

  async #compare(isCurrent) {
    const metric = this.#parts.metric.value;
    const ids = [...this.#chosen];
    if (!metric || ids.length === 0) {
      this.#clear();
      this.#say(this.#cohorts.length ? "No figures of these cohorts yet." : NO_COHORTS);
      return;
    }
    if (this.#etag === null) this.#say("Comparing…");
    const answer = await compareCohorts(this.#session, this.#companyId, ids, metric);
    if (!isCurrent()) return;
    this.#say("");
    this.#parts.stamp.textContent = `· as of ${formatTime(new Date(answer.asOf))}`;
    if (answer.etag === this.#etag) return;
    this.#etag = answer.etag;
    this.#draw(answer.comparison);
  }

  async #ask(work) {
    const run = (this.#run += 1);
    const isCurrent = () => run === this.#run;
    this.#isAsking = true;
    try {
      await work(isCurrent);
      if (isCurrent()) this.panel.dataset.stale = "false";
    } catch (error) {
      if (isCurrent()) this.#fail(error);
    } finally {
      if (isCurrent()) this.#isAsking = false;
    }
  }

  /** Old figures stay, and are said to be old. */
  #fail({ status, message }) {
    this.#round = 0; // Everything may have changed by the time that it works again.
    // Switched off, or a token is needed: the panel has nothing to say.
    if ([401, 403, 501].includes(status)) {
      this.panel.hidden = true;
      return;
    }
    this.panel.dataset.stale = "true";
    this.#say(`Stored figures can’t be read just now${status ? ` (${message})` : ""}.`);
  }

  #showCohorts(cohorts) {
    const isNew = this.#cohorts.length === 0;
    const known = new Set(this.#cohorts.map(({ cohortId }) => cohortId));
    const ids = new Set(cohorts.map(({ cohortId }) => cohortId));
    for (const id of this.#chosen) if (!ids.has(id)) this.#chosen.delete(id);
    for (const { cohortId } of cohorts) {
      const hasRoom = this.#chosen.size < CHOSEN_AT_FIRST;
      if ((isNew || !known.has(cohortId)) && hasRoom) this.#chosen.add(cohortId);
    }
    const text = (list) => JSON.stringify(list.map(({ cohortId, name }) => [cohortId, name]));
    if (isNew || text(cohorts) !== text(this.#cohorts)) {
      this.#parts.choice.replaceChildren(...cohorts.map((cohort) => this.#choiceOf(cohort)));
    }
    this.#cohorts = cohorts;
    this.#countChosen();
    this.panel.hidden = false;
  }

  #choiceOf({ cohortId, name }) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = cohortId;
    box.checked = this.#chosen.has(cohortId);
    const text = document.createElement("span");
    text.textContent = name;
    label.append(box, text);
    return label;
  }

  #choose() {
    const boxes = this.#parts.choice.querySelectorAll("input:checked");
    this.#chosen = new Set([...boxes].map(({ value }) => value));
    this.#countChosen();
    this.#refresh();
  }

  #countChosen() {
    this.#parts.chosen.textContent = `${this.#chosen.size} of ${this.#cohorts.length} cohorts`;
  }

  #showMetrics(metrics) {
    const { metric } = this.#parts;
    if (metrics.join("\n") !== this.#metrics.join("\n")) {
      const before = metric.value;
      metric.replaceChildren(...metrics.map((name) => new Option(humanise(name), name)));
      if (metrics.includes(before)) metric.value = before;
    }
    this.#metrics = metrics;
  }

  #draw({ periodStart, cohorts, pairs }) {
    const scale = scaleOf(cohorts);
    const names = new Map(cohorts.map(({ cohortId, cohortName }) => [cohortId, cohortName]));
    const sorted = [...pairs].sort((a, b) => (a.pAdjusted ?? 2) - (b.pAdjusted ?? 2));
    this.#parts.period.textContent = periodStart ? `Period of ${periodStart}` : "No data";
    this.#parts.rows.replaceChildren(...cohorts.map((cohort) => cohortRow(cohort, scale)));
    this.#parts.axis.replaceChildren(drawAxis(scale));
    this.#parts.pairs.replaceChildren(...sorted.map((pair) => pairRow(pair, names, scale)));
    this.#parts.table.hidden = cohorts.length === 0;
    this.#parts.differences.hidden = pairs.length === 0;
    if (cohorts.length === 0) this.#say("These cohorts have no figures of this metric.");
  }

  #clear() {
    this.#etag = null;
    this.#parts.table.hidden = true;
    this.#parts.differences.hidden = true;
    this.#parts.stamp.textContent = "";
    this.#parts.period.textContent = "";
  }

  #say(text) {
    const { message } = this.#parts;
    if (message.textContent !== text) message.textContent = text;
    message.hidden = text === "";
  }
}

const NO_COHORTS = "This company has no cohorts. POST /cohort makes one out of filters.";

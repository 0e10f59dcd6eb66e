/** The list of what is not a metric: journey flags, Q2Q, VIS and SROI events, newest first. */

import { formatNumber, formatTime, humanise } from "./format.js";

export const MAX_ITEMS = 60;

const KINDS = {
  journey: "Journey",
  q2q: "Q2Q",
  vis: "VIS",
  sroi: "SROI",
};
// Told elsewhere on the page, or of no use to a reader.
const LEFT_OUT = new Set(["companyId", "timestamp", "type", "id", "eventId", "version"]);
const MAX_FACTS = 4;
// Names under which producers say what an event is about, and how much of it.
const TOPICS = new Set(["flag", "flagName", "journeyFlag", "stage", "metricName", "dimension"]);
const FIGURES = new Set(["score", "ratio", "value", "sroi", "vis"]);

export class EventFeed {
  #list;
  #template;
  #items = [];
  #unseen = 0;

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
  }

  /** Remember an event; it is drawn by the next `render()`. */
  add(update) {
    this.#items.push(describe(update));
    this.#unseen = Math.min(this.#unseen + 1, MAX_ITEMS);
    if (this.#items.length > 2 * MAX_ITEMS) this.#items = this.#items.slice(-MAX_ITEMS);
  }

  /** Show these instead: items as `toJSON()` gave them, oldest first. */
  show(items) {
    this.#items = items;
    this.#unseen = items.length;
    this.#list.replaceChildren();
  }

  render() {
    if (this.#unseen === 0) return;
    const fresh = this.#items.slice(-this.#unseen).reverse();
    this.#unseen = 0;
    this.#list.prepend(...fresh.map((item) => this.#element(item)));
    while (this.#list.childElementCount > MAX_ITEMS) this.#list.lastElementChild.remove();
  }

  toJSON() {
    return this.#items.slice(-MAX_ITEMS);
  }

  #element({ kind, title, facts, ms, id }) {
    const element = this.#template.content.firstElementChild.cloneNode(true);
    element.dataset.kind = kind;
    element.dataset.id = id;
    const write = (part, text) => {
      element.querySelector(`[data-part="${part}"]`).textContent = text;
    };
    write("kind", KINDS[kind] ?? humanise(kind));
    write("title", title);
    write("facts", facts);
    const time = element.querySelector("time");
    time.textContent = formatTime(ms);
    time.dateTime = new Date(ms).toISOString();
    return element;
  }
}

/** Payloads are flat, or an envelope with the facts in `data`. */
export function fieldsOf(data) {
  return data !== null && typeof data.data === "object" && data.data !== null ? data.data : data;
}

function describe({ id, subject, timeMs, data }) {
  const fields = Object.entries(fieldsOf(data)).filter(
    ([name, value]) => !LEFT_OUT.has(name) && isShort(value),
  );
  const [kind, ...rest] = subject.split(".");
  const topic = fields.find(([name, value]) => TOPICS.has(name) && typeof value === "string");
  const figure = fields.find(([name, value]) => FIGURES.has(name) && typeof value !== "string");
  const facts = fields.filter((field) => field !== topic && field !== figure).slice(0, MAX_FACTS);
  return {
    id,
    kind,
    title: titleOf(topic, figure) ?? humanise(rest.join(" ") || kind),
    facts: facts.map(([name, value]) => `${humanise(name)}: ${formatValue(value)}`).join(" · "),
    ms: timeMs ?? Date.now(),
  };
}

/** `Job ready`, `Belonging 0.73`, `Score 74.2`: what happened, before its circumstances. */
function titleOf(topic, figure) {
  if (!topic && !figure) return null;
  const words = humanise(topic ? topic[1] : figure[0]);
  // A flag that is set needs no further word.
  return figure && figure[1] !== true ? `${words} ${formatValue(figure[1])}` : words;
}

function isShort(value) {
  return ["string", "number", "boolean"].includes(typeof value) && String(value).length <= 80;
}

function formatValue(value) {
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  // A UUID says nothing to a reader beyond its first group.
  return value.replace(/^([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f-]{22}$/i, "$1…");
}

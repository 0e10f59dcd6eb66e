// Opens the stream at argv[2] with npm's EventSource and prints each event as a line of JSON.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const names = [
  "connected", "reset", "bye", "message",
  "metric_updated", "journey_flag_updated", "vis_updated", "sroi_updated",
];
for (const name of names) {
  source.addEventListener(name, ({ type, data, lastEventId }) => {
    process.stdout.write(`${JSON.stringify([type, data, lastEventId])}\n`);
  });
}

// Opens streams as many users do, and holds each until the server ends it.
//
// k6 gives a script the body of an answer when it has ended, so it can neither see an event arrive nor
// time it. It judges connections here; `make load` runs our own client beside it for the latency.
// The server must end its streams by itself: STREAM_MAX_LIFETIME_S, at most LIFETIME_SECONDS.
import exec from 'k6/execution';
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';

const BASE_URL = __ENV.BASE_URL || 'http://localhost:3007';
const COMPANY = __ENV.COMPANY || 'test-company';
const USERS = Number(__ENV.USERS || 100);
const STAGE_SECONDS = Number(__ENV.STAGE_SECONDS || 30);
const LIFETIME_SECONDS = Number(__ENV.LIFETIME_SECONDS || 30);
// A stream that is still open after this is an error: its server has no STREAM_MAX_LIFETIME_S.
const TIMEOUT = `${LIFETIME_SECONDS + 10}s`;

const success = new Rate('connection_success');
const errors = new Counter('connection_errors');
const events = new Counter('events_received');
const opened = new Trend('stream_open_ms', true);

export const options = {
  discardResponseBodies: false,
  scenarios: {
    users: {
      executor: 'ramping-vus',
      startVUs: 0,
      stages: [
        { duration: `${STAGE_SECONDS}s`, target: Math.ceil(USERS / 10) },
        { duration: `${STAGE_SECONDS}s`, target: Math.ceil(USERS / 2) },
        { duration: `${STAGE_SECONDS}s`, target: USERS },
        { duration: `${2 * STAGE_SECONDS}s`, target: USERS },
        { duration: `${Math.ceil(STAGE_SECONDS / 2)}s`, target: 0 },
      ],
      gracefulRampDown: TIMEOUT,
      gracefulStop: TIMEOUT,
    },
  },
  thresholds: {
    connection_success: ['rate>=0.95'],
    connection_errors: ['count<10'],
  },
};

function open() {
  const headers = { Accept: 'text/event-stream' };
  if (__ENV.TOKEN) headers.Authorization = `Bearer ${__ENV.TOKEN}`;
  const address = `${BASE_URL}/stream/updates?companyId=${encodeURIComponent(COMPANY)}`;
  return http.get(address, { headers, timeout: TIMEOUT, tags: { name: 'stream' } });
}

// One stream beforehand: a server that can't be tested says so in a line, not in a thousand errors.
export function setup() {
  const answer = open();
  if (answer.status !== 200) {
    const why = answer.error || answer.body;
    exec.test.abort(
      `${BASE_URL} ends no stream within ${TIMEOUT}: ${answer.status} ${why}. ` +
        `Is it up, and started with STREAM_MAX_LIFETIME_S=${LIFETIME_SECONDS}?`,
    );
  }
}

export default function () {
  const answer = open();
  const good = check(answer, {
    'status is 200': (r) => r.status === 200,
    'is an event stream': (r) => `${r.headers['Content-Type']}`.startsWith('text/event-stream'),
    'went live': (r) => `${r.body}`.includes('\nevent: connected\n') || `${r.body}`.startsWith('event: connected\n'),
    'ended in good order': (r) => `${r.body}`.includes('event: bye\n'),
  });
  success.add(good);
  errors.add(good ? 0 : 1);
  if (answer.status === 200) {
    opened.add(answer.timings.waiting);
    events.add(answer.body.split('event: metric_updated\n').length - 1);
  }
}

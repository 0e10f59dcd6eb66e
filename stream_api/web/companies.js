/** Which companies can be chosen: all with events for an admin, the own one for everybody else. */

const REFRESH_MS = 5000;

/**
 * Ask the sidecar's statistics now and then, which are an admin's when authentication is on.
 *
 * `onChange({ access, ids })` is called whenever that changes: access is `all` (ids are sorted),
 * `own` (a token or cookie of one company) or `none` (a token is needed). `refresh()` asks now.
 */
export function watchCompanies(session, onChange) {
  let shown = "";

  async function refresh() {
    if (document.hidden) return;
    const found = await ask(session);
    const text = JSON.stringify(found);
    if (found === null || text === shown) return;
    shown = text;
    onChange(found);
  }

  // Who may not ask is not asked again, until somebody signs in.
  const timer = setInterval(() => shown.startsWith('{"access":"all"') && refresh(), REFRESH_MS);
  refresh();
  return { refresh, stop: () => clearInterval(timer) };
}

async function ask(session) {
  try {
    const response = await session.fetch("stream/stats");
    const { replayCache } = await response.json();
    return { access: "all", ids: Object.keys(replayCache?.eventsByCompany ?? {}).sort() };
  } catch ({ status }) {
    if (status === 401) return { access: "none", ids: [] };
    if (status === 403) return { access: "own", ids: [] };
    // The connection state tells that the server is away; streaming that is off tells itself.
    return null;
  }
}

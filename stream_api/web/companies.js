/** The companies that can be chosen, from the sidecar's statistics. */

const REFRESH_MS = 5000;

/**
 * Call `onChange` with the sorted ids whenever they change, until `stop()`; `refresh()` asks now.
 * With authentication on, the statistics are an administrator's: the list stays empty, and an id
 * is typed.
 */
export function watchCompanies(onChange, url = "stream/stats") {
  let shown = "";
  let allowed = true;

  async function refresh() {
    if (!allowed || document.hidden) return;
    try {
      const response = await fetch(url, { cache: "no-store" });
      allowed = response.status !== 401 && response.status !== 403;
      if (!response.ok) return;
      const { replayCache } = await response.json();
      const ids = Object.keys(replayCache?.eventsByCompany ?? {}).sort();
      if (ids.join() !== shown) {
        shown = ids.join();
        onChange(ids);
      }
    } catch {
      // The connection state tells that the server is away.
    }
  }

  const timer = setInterval(refresh, REFRESH_MS);
  refresh();
  return { refresh, stop: () => clearInterval(timer) };
}

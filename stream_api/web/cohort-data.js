/** What the cohort panel asks of the cohort API. Throws ApiError, or TypeError without a network. */

// As many as one comparison takes.
export const MAX_COHORTS = 50;
// Cohorts of one company measure the same things: a few of them name all metrics.
const ASKED_FOR_METRICS = 3;

const query = (companyId, more = {}) => new URLSearchParams({ companyId, ...more });

/** `[{ cohortId, name, members }]` by name. */
export async function listCohorts(session, companyId) {
  const address = `cohort?${query(companyId, { limit: String(MAX_COHORTS) })}`;
  const { cohorts } = await (await session.fetch(address)).json();
  return cohorts;
}

/** Names of the metrics that the cohorts have figures of, sorted. */
export async function listMetrics(session, companyId, cohorts) {
  const asked = [...cohorts].sort((a, b) => b.members - a.members).slice(0, ASKED_FOR_METRICS);
  const answers = await Promise.all(
    asked.map(async ({ cohortId }) => {
      const address = `cohort/${encodeURIComponent(cohortId)}/overview?${query(companyId)}`;
      return (await session.fetch(address)).json();
    }),
  );
  return [...new Set(answers.flatMap(({ metrics }) => Object.keys(metrics)))].sort();
}

/** `{ etag, asOf, comparison }`; the same tag means the same figures as before. */
export async function compareCohorts(session, companyId, cohortIds, metric) {
  const response = await session.fetch("cohort/compare", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ companyId, cohortIds, metric }),
  });
  return { etag: response.headers.get("ETag"), ...(await response.json()) };
}

/**
 * What the page showed, kept over a reload of the same tab.
 *
 * The stream resumes after the last id, so the events before it never come again. The snapshot holds
 * them together with that id: both are from one moment, and nothing is shown twice or left out.
 */

const VERSION = 1;
const MAX_AGE_MS = 30 * 60 * 1000;

const keyOf = (companyId) => `dashboard:${companyId}`;

export function saveSnapshot(companyId, content) {
  try {
    const text = JSON.stringify({ version: VERSION, savedAt: Date.now(), ...content });
    sessionStorage.setItem(keyOf(companyId), text);
  } catch {
    // Full or forbidden: after a reload the page starts empty, and live.
  }
}

/** The content, or null when there is none that this version can use. */
export function loadSnapshot(companyId) {
  try {
    const content = JSON.parse(sessionStorage.getItem(keyOf(companyId)));
    const usable = content?.version === VERSION && Date.now() - content.savedAt < MAX_AGE_MS;
    return usable ? content : null;
  } catch {
    return null;
  }
}

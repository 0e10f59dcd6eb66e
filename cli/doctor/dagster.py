"""Dagster: webserver, daemons, code location, schedules and sensors, runs; all by its GraphQL."""

from __future__ import annotations

import time
from typing import Any

from cli.doctor.check import Finding, failed, ok, warning
from cli.doctor.runbook import Entry
from cli.doctor.servers import Servers
from cli.refusal import Refused, one_line
from pipelines.defs.alerts.condition import span

# A daemon reports every 30 s; Dagster itself believes it alive for half an hour.
SILENT_SECONDS = 120
# A daemon that has just begun has not reported yet.
LONG_RUN_SECONDS = 3600
LONG_QUEUE_SECONDS = 600
RECENT_SECONDS = 3600

DAEMONS = """
{ instance { daemonHealth { allDaemonStatuses {
  daemonType required lastHeartbeatTime lastHeartbeatErrors { message } } } } }
"""
LOCATIONS = """
{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } } } } } }
"""
SCHEDULES = """
{ repositoriesOrError { __typename
  ... on PythonError { message }
  ... on RepositoryConnection { nodes {
    schedules { name scheduleState { status } } sensors { name sensorState { status } } } } } }
"""
RUNS = """
query Runs($active: RunsFilter!, $failed: RunsFilter!) {
  active: runsOrError(filter: $active, limit: 100) { ...found }
  failed: runsOrError(filter: $failed, limit: 100) { ...found } }
fragment found on RunsOrError { __typename
  ... on PythonError { message }
  ... on Runs { results { runId jobName status creationTime startTime } } }
"""


def dagster_answers(servers: Servers) -> Finding:
    """The webserver."""
    response = servers.get(f"{servers.dagster_url}/server_info")
    try:
        version = response.json()["dagster_version"]
    except (ValueError, KeyError, TypeError):
        return failed(
            f"something else answers at {servers.dagster_url}; set DAGSTER_PORT or --dagster-url",
            Entry.PORT_TAKEN,
        )
    return ok(f"Dagster {version} at {servers.dagster_url}")


def daemons_run(servers: Servers) -> Finding:
    """Every required daemon has reported lately, without an error."""
    rows = _ask(servers, DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    required = [one for one in rows if one["required"]]
    now = time.time()
    silent = {
        one["daemonType"]: now - float(one["lastHeartbeatTime"] or 0)
        for one in required
        if now - float(one["lastHeartbeatTime"] or 0) > SILENT_SECONDS
    }
    if silent:
        never = [name for name, seconds in silent.items() if seconds > now - SILENT_SECONDS]
        longest = "ever" if never else span(max(silent.values()))
        return failed(
            f"{', '.join(sorted(silent))} said nothing for {longest}: schedules and sensors stand "
            "still; start dagster-daemon",
            Entry.DAEMON,
        )
    for one in required:
        if one["lastHeartbeatErrors"]:
            words = one_line(one["lastHeartbeatErrors"][0]["message"])[:200]
            return warning(f"{one['daemonType']}: {words}", Entry.DAEMON)
    return ok(f"{len(required)} daemons reported within {SILENT_SECONDS} s")


def code_loads(servers: Servers) -> Finding:
    """Every code location is loaded."""
    workspace = _ask(servers, LOCATIONS)["workspaceOrError"]
    if "locationEntries" not in workspace:
        return failed(one_line(workspace.get("message")), Entry.CODE_LOCATION)
    entries = workspace["locationEntries"]
    for one in entries:
        loaded = one["locationOrLoadError"] or {}
        if "message" in loaded:
            return failed(
                f"{one['name']}: {one_line(loaded['message'])[:300]}", Entry.CODE_LOCATION
            )
    if not entries:
        return failed("no code location; see workspace.yaml", Entry.CODE_LOCATION)
    return ok(", ".join(f"{one['name']} {one['loadStatus'].lower()}" for one in entries))


def schedules_are_on(servers: Servers) -> Finding:
    """Schedules and sensors that somebody turned off."""
    found = _ask(servers, SCHEDULES)["repositoriesOrError"]
    if "nodes" not in found:
        return failed(one_line(found.get("message")), Entry.CODE_LOCATION)
    states: dict[str, str] = {}
    for node in found["nodes"]:
        states |= {one["name"]: one["scheduleState"]["status"] for one in node["schedules"]}
        states |= {one["name"]: one["sensorState"]["status"] for one in node["sensors"]}
    off = sorted(name for name, status in states.items() if status != "RUNNING")
    if off:
        return warning(
            f"turned off: {', '.join(off)}; turn on under Automation unless it is meant",
            Entry.SCHEDULE_OFF,
        )
    return ok(f"{len(states)} schedules and sensors are on")


def runs_go_through(servers: Servers) -> Finding:
    """Runs that wait or run for too long, then failures of the last hour."""
    now = time.time()
    variables = {
        "active": {"statuses": ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"]},
        "failed": {"statuses": ["FAILURE"], "createdAfter": now - RECENT_SECONDS},
    }
    answer = _ask(servers, RUNS, variables)
    for part in answer.values():
        if "results" not in part:
            return failed(one_line(part.get("message")), Entry.RUNS_FAIL)
    active, lost = answer["active"]["results"], answer["failed"]["results"]
    for run in active:
        begun = run["startTime"]
        seconds = now - float(begun or run["creationTime"])
        if seconds > (LONG_RUN_SECONDS if begun else LONG_QUEUE_SECONDS):
            what = "has been running" if begun else "has been waiting"
            return warning(
                f"{run['jobName']} {run['runId'][:8]} {what} for {span(seconds)}", Entry.RUN_STUCK
            )
    if lost:
        jobs = ", ".join(sorted({run["jobName"] for run in lost}))
        return warning(f"{len(lost)} runs failed within the last hour: {jobs}", Entry.RUNS_FAIL)
    return ok(f"{len(active)} under way, none failed within the last hour")


def _ask(servers: Servers, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    response = servers.post(
        f"{servers.dagster_url}/graphql", json={"query": query, "variables": variables or {}}
    )
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        raise Refused(f"{servers.dagster_url}/graphql answered {response.status_code}") from None
    if answer.get("errors"):
        raise Refused(f"Dagster refused: {one_line(answer['errors'][0]['message'])[:300]}")
    data: dict[str, Any] = answer["data"]
    return data

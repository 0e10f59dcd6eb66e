"""`/events/{id}/proof`: what became of one event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from stream_api.errors import Refusal, refusals
from stream_api.proof import Proof, Prover
from stream_api.routes.access import (
    PrincipalDep,
    SidecarDep,
    reachable_servers,
    require_company,
    require_event_id,
    require_warehouse,
)

router = APIRouter(prefix="/events", tags=["proofs"])


@router.get("/{event_id:path}/proof", responses=refusals(400, 401, 403, 404, 501, 503))
async def read_proof(
    event_id: str,
    sidecar: SidecarDep,
    principal: PrincipalDep,
    company_id: Annotated[str | None, Query(alias="companyId")] = None,
) -> dict[str, Any]:
    """Stream, live streams, rows and dead letter of one event of the company.

    An id of another company is answered as one that never was.
    """
    warehouse = require_warehouse(sidecar)
    company = require_company(principal, company_id)
    wanted = require_event_id(event_id)
    with reachable_servers():
        proof = await Prover(sidecar.nats, warehouse, sidecar.hub).prove(company, wanted)
    if proof is None:
        raise Refusal(404, f"company {company} has no event {wanted}, as far as anything is kept")
    return {**_answer(proof), "companyId": company, "instance": sidecar.instance}


def _answer(proof: Proof) -> dict[str, Any]:
    letter = proof.letter
    return {
        "id": str(proof.id),
        "verdict": proof.verdict.value,
        "stream": {
            "sequence": proof.id.seq,
            "time": datetime.fromtimestamp(proof.id.ms / 1000, UTC).isoformat(
                timespec="milliseconds"
            ),
            "present": proof.in_stream,
        },
        "live": {"published": proof.published, "inRing": proof.in_ring},
        "events": {"rows": proof.rows, "rowsOnDisk": proof.rows_on_disk},
        "metricsTimeseries": None if proof.metric_rows is None else {"rows": proof.metric_rows},
        "deadLetter": None
        if letter is None
        else {"state": letter.state, "reason": letter.reason, "detail": letter.detail},
        "sink": {
            "acknowledgedUpTo": proof.ack_floor,
            # Sequences of another life of the stream say nothing about this floor.
            "acknowledged": proof.below_floor if proof.in_stream else None,
        },
    }

"""GET devices, their latest values, their history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api import schemas
from api.desk import AtDesk
from api.history import HistoryAsked, read_history
from api.problems import may_fail
from api.views import device_shape, device_states, latest_of

router = APIRouter(tags=["devices"])

DeviceId = Annotated[str, Path(alias="id", description="id of the device", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=500, description="at most so many items")]


@router.get("/devices", summary="Devices of the registry, by id", responses=may_fail(422))
async def devices(
    desk: AtDesk,
    building: Annotated[str | None, Query(description="only of this building, by id")] = None,
    type: Annotated[str | None, Query(description="only of this device type")] = None,
    state: Annotated[schemas.DeviceState | None, Query(description="only in this state")] = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    limit: Limit = 100,
) -> schemas.Page[schemas.Device]:
    registry = desk.parts.registry
    wanted = [
        device
        for device in sorted(registry.devices.values(), key=lambda d: d.id)
        if (building is None or device.building == building)
        and (type is None or device.type == type)
        and (cursor is None or device.id > cursor)
    ]
    states = device_states(desk.view, wanted, desk.now_us())
    wanted = [d for d in wanted if state is None or states[d.id] == state]
    shown = [device_shape(registry, desk.view, d, states[d.id]) for d in wanted[:limit]]
    following = shown[-1].id if len(wanted) > limit else None
    return schemas.Page[schemas.Device](items=shown, next=following)


@router.get("/devices/{id}", summary="One device", responses=may_fail(404, 422))
async def device(desk: AtDesk, id: DeviceId) -> schemas.Device:
    known = desk.device(id)
    state = device_states(desk.view, [known], desk.now_us())[known.id]
    return device_shape(desk.parts.registry, desk.view, known, state)


@router.get(
    "/devices/{id}/latest", summary="Newest values of a device", responses=may_fail(404, 422)
)
async def device_latest(desk: AtDesk, id: DeviceId) -> schemas.DeviceLatest:
    known = desk.device(id)
    values = latest_of(desk.view, known, desk.now_us())
    return schemas.DeviceLatest(device=known.id, values=values)


@router.get(
    "/latest",
    summary="Newest values of all devices, as columns",
    response_model=schemas.Latest,
)
async def latest(desk: AtDesk) -> Response:
    return Response(desk.latest.of(desk.view), media_type="application/json")


@router.get(
    "/devices/{id}/history",
    summary="A series in equal steps of time",
    responses=may_fail(404, 422, 503),
)
def history(
    desk: AtDesk,
    id: DeviceId,
    channel: Annotated[str, Query(description="channel of the device", max_length=64)],
    metric: Annotated[str, Query(description="word of the metric catalogue", max_length=64)],
    since: Annotated[
        str | None,
        Query(alias="from", description="ISO 8601, UTC if it names no zone; else `to` - 24 h"),
    ] = None,
    until: Annotated[
        str | None, Query(alias="to", description="ISO 8601, not itself included; else now")
    ] = None,
    points: Annotated[int, Query(ge=1, le=2_000, description="at most so many steps")] = 300,
) -> schemas.History:
    asked = HistoryAsked(desk.device(id).id, channel, metric, since, until, points)
    return read_history(desk.parts, asked, desk.now_us())

"""GET sites."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter

from api import schemas
from api.desk import AtDesk
from api.views import building_states, device_states

router = APIRouter(tags=["sites"])


@router.get("/sites", summary="All sites, their buildings and how these are")
async def sites(desk: AtDesk) -> list[schemas.Site]:
    registry = desk.parts.registry
    states = device_states(desk.view, registry.devices.values(), desk.now_us())
    of_buildings = building_states(registry, states)
    buildings = [
        {
            "id": building.id,
            "name": {"zh": building.name.zh, "en": building.name.en},
            "households": building.households,
            "stairwells": building.stairwells,
            "at": building.at,
            "state": of_buildings[building.id],
        }
        for building in registry.buildings.values()
    ]
    site = {
        "id": registry.site,
        "name": {"zh": registry.name.zh, "en": registry.name.en},
        "time_zone": registry.time_zone,
        "households": registry.households,
        "device_counts": Counter(device.type for device in registry.devices.values()),
        "buildings": buildings,
    }
    return [schemas.Site.model_validate(site)]

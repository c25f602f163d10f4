from collections import Counter

from ingest.site import read_registry
from simulators.models.charging_post import SOCKETS
from tests.simulators.community import SITES, rihuali


def test_the_site_has_the_counts_of_the_real_one() -> None:
    site = rihuali()
    assert len(site.buildings) == 30
    assert site.households == sum(b.households for b in site.buildings.values()) == 1_376
    assert sum(building.stairwells for building in site.buildings.values()) == 118
    counts = Counter(device.type for device in site.devices.values())
    assert counts["charging_post"] * SOCKETS == 288
    assert counts["circuit_meter"] == 118
    assert counts["camera"] == 72
    assert counts["pump"] == 7
    assert counts["gateway"] == 35


def test_every_stairwell_has_its_meter() -> None:
    site = rihuali()
    wanted = {(b.id, s) for b in site.buildings.values() for s in range(1, b.stairwells + 1)}
    meters = [d for d in site.devices.values() if d.type == "circuit_meter"]
    assert sorted((d.building, d.stairwell) for d in meters) == sorted(wanted)


def test_cameras_look_where_they_should() -> None:
    cameras = [d for d in rihuali().devices.values() if d.type == "camera"]
    tags = Counter(tag for camera in cameras for tag in camera.tags)
    assert (tags["facade"], tags["entrance"], tags["shed"]) == (30, 20, 12)
    # what is seen at sheds and gates must never speak for a stairwell
    assert all(not c.building for c in cameras if not c.tags & {"facade", "entrance"})


def test_a_child_speaks_through_its_gateway() -> None:
    site = rihuali()
    for device in site.devices.values():
        assert site.speaks_for(device.principal, device.id) is device
        if device.gateway:
            assert device.principal == site.devices[device.gateway].principal


def test_buildings_do_not_stand_in_each_other() -> None:
    places = [building.at for building in rihuali().buildings.values()]
    for first, (x, y) in enumerate(places):
        for other_x, other_y in places[first + 1 :]:
            assert abs(x - other_x) >= 60 or abs(y - other_y) >= 20


def test_the_recordings_have_a_site_too() -> None:
    site = read_registry(SITES / "recorded.yaml")
    counts = Counter(device.type for device in site.devices.values())
    assert counts == {"pump": 21, "circuit_meter": 20, "gateway": 1}

import json
from collections import Counter

from ingest.clock import US_PER_S
from ingest.dialect import Inbound
from ingest.dialects.native import DIALECT
from simulators.faults import plant
from simulators.fleet import Fleet
from simulators.message import Message
from tests.simulators.community import EVENING_US, HOUR_US, few, part, rihuali, run


def _first_minutes(minutes: int, seed: int = 1) -> list[Message]:
    fleet = Fleet(rihuali(), seed=seed, start_us=EVENING_US)
    return list(fleet.messages(EVENING_US + minutes * 60 * US_PER_S))


def test_messages_come_in_the_order_of_time() -> None:
    times = [message.time_us for message in _first_minutes(5)]
    assert times == sorted(times)
    assert times[0] == EVENING_US
    assert times[-1] < EVENING_US + 300 * US_PER_S


def test_every_principal_comes_online_and_every_device_is_born_before_it_speaks() -> None:
    registry = rihuali()
    online, born = set(), set()
    for message in _first_minutes(3):
        decoded = DIALECT.decode(Inbound(message.topic, message.payload, message.time_us), {})
        level = message.topic.rsplit("/", 1)[1]
        if level == "will":
            assert message.retain
            online.add(decoded.principal)
        if level == "birth":
            device = registry.speaks_for(decoded.principal, decoded.signals[0].device)
            assert device is not None
            # the broker keeps one birth a principal: its own, not that of its last child
            assert message.retain == (device.principal == device.id)
            born.add(device.id)
        for seen in decoded.observations:
            device = registry.speaks_for(decoded.principal, seen.device)
            assert device is not None
            assert device.id in born
    assert online == set(registry.principals)
    assert born == set(registry.devices)


def test_every_device_keeps_its_pace() -> None:
    registry = rihuali()
    counts: Counter[str] = Counter()
    for message in _first_minutes(20):
        if message.topic.endswith("/up"):
            counts[json.loads(message.payload).get("d") or message.principal] += 1
    for device in registry.devices.values():
        expected = 1_200 / (device.interval_s or device.kind.interval_s)
        assert abs(counts[device.id] - expected) <= 1


def test_an_hour_decodes_without_a_flaw() -> None:
    result = run(part("charging_post", "circuit_meter", "gateway", "camera", building="b06"), 1)
    assert result.flaws == []
    assert result.messages > 400
    assert run(few("pump", "supply-1"), 0.2).flaws == []


def test_the_numbers_of_a_principal_rise_by_one() -> None:
    seen: dict[str, int] = {}
    for message in _first_minutes(5):
        if message.topic.rsplit("/", 1)[1] in {"up", "ev"}:
            number = json.loads(message.payload)["seq"]
            assert number == seen.get(message.principal, 0) + 1
            seen[message.principal] = number


def test_another_start_is_another_boot() -> None:
    registry = part("gateway")
    first = Fleet(registry, seed=1, start_us=EVENING_US)
    second = Fleet(registry, seed=1, start_us=EVENING_US + HOUR_US)
    assert first.boot != second.boot


def test_a_birth_names_what_the_device_will_say() -> None:
    registry = few("pump", "supply-1")
    fleet = Fleet(registry, seed=1, start_us=EVENING_US)
    promised: dict[str, set[tuple[str, str]]] = {}
    said: dict[str, set[tuple[str, str]]] = {}
    for message in fleet.messages(EVENING_US + 60 * US_PER_S):
        body = json.loads(message.payload)
        if message.topic.endswith("/birth"):
            promised[body["d"]] = {(c, m) for c, m, _ in body["channels"]}
        if message.topic.endswith("/up"):
            said.setdefault(body["d"], set()).update((c, m) for c, m, _ in body["m"])
    assert promised == said


def test_dirty_circuits_carry_long_loads() -> None:
    registry = part("circuit_meter", building="b06")
    clean, dirty = (
        sum(sum(series.values()) for (_, _, m), series in r.values.items() if m == "power.active")
        for r in (run(registry, 6, seed=2), run(registry, 6, seed=2, dirty=1.0))
    )
    assert dirty > clean * 1.1


def test_two_faults_on_a_device_end_apart() -> None:
    registry = few("circuit_meter", "m-b03-1", 1)
    at_us = EVENING_US + 600 * US_PER_S
    faults = [
        plant("C04", "m-b03-1", at_us, registry, 600),
        plant("C02", "m-b03-1", at_us, registry, 1_800),
    ]
    values = run(registry, 1, faults).values
    leak, current = (values["m-b03-1", "main", m] for m in ("current.residual", "current"))
    late = [t for t in leak if at_us + 700 * US_PER_S < t < at_us + 1_700 * US_PER_S]
    assert max(leak[t] for t in late) < 100
    assert min(current[t] for t in late) > 16

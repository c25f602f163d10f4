"""A site file is read into a registry, and every mistake in it has a line and a column."""

from __future__ import annotations

import pytest

from ingest.document import DocumentError
from ingest.registry import Registry, device_type
from ingest.shelf import from_shelf, shelf_words
from ingest.site import read_registry

SITE = """\
site: {id: demo, name: {zh: 小区, en: Estate}, households: 46}
buildings:
  - {id: b01, name: {zh: 1号楼, en: Building 1}, households: 46, stairwells: 4, at: [10, 20]}
devices:
  - {id: gw-1, type: gateway, building: b01}
  - {id: meter-1, type: circuit_meter, building: b01, stairwell: 2, principal: gw-1,
     gateway: gw-1, tags: [stairwell], params: {rated_current: 20}, external_ids: ["0042"]}
"""


def read(text: str) -> Registry:
    return read_registry("site.yaml", text)


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_principal_speaks_for_itself_and_its_children_only() -> None:
    registry = read(SITE)
    assert registry.speaks_for("gw-1", "") is registry.devices["gw-1"]
    assert registry.speaks_for("gw-1", "meter-1") is registry.devices["meter-1"]
    assert registry.speaks_for("gw-1", "0042") is registry.devices["meter-1"]
    assert registry.speaks_for("meter-1", "") is None
    assert registry.speaks_for("stranger", "meter-1") is None


def test_the_version_changes_with_the_file() -> None:
    assert (
        read(SITE).version != read(SITE.replace("rated_current: 20", "rated_current: 25")).version
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("stairwell: 2", "stairwel: 2", "site.yaml:6:55 devices.1.stairwel unknown key 'stairwel'"),
        ("circuit_meter", "circuit", "site.yaml:6:25 devices.1.type no device type 'circuit'"),
        ("gateway: gw-1", "gateway: gw-9", "site.yaml:7:15 devices.1.gateway no device 'gw-9'"),
        ("id: meter-1", "id: gw-1", "site.yaml:6:10 devices.1.id 'gw-1' is there twice"),
        ("rated_current", "rated_amps", "devices.1.params.rated_amps circuit_meter has no"),
        ("households: 46}", "households: -1}", "site.yaml:1:58 site.households Input should be"),
        ("principal: gw-1", "principal: provision", "reserved principal"),
        ("{id: demo,", "{id: demo, time_zone: Mars,", "no time zone called 'Mars'"),
    ],
)
def test_a_mistake_is_told_where_it_is(old: str, new: str, told: str) -> None:
    (problem,) = problems(SITE.replace(old, new, 1))
    assert told in problem


def test_broken_yaml_has_its_line_too() -> None:
    assert problems("site: {id: x\n")[0].startswith("site.yaml:2:1")


def test_every_mistake_is_told_not_only_the_first() -> None:
    broken = SITE.replace("stairwell: 2", "stairwell: x").replace(
        "households: 46}", "households: y}"
    )
    assert len(problems(broken)) == 2


@pytest.mark.parametrize("word", shelf_words("ingest.devices"))
def test_a_device_type_is_called_like_its_file(word: str) -> None:
    declared = device_type(word)
    assert declared.name == word
    assert declared.channels
    assert 0 < declared.interval_s <= declared.stale_after_s


def test_a_word_that_is_on_no_shelf_names_the_nearest() -> None:
    with pytest.raises(LookupError, match="did you mean 'circuit_meter'"):
        from_shelf("ingest.devices", "circuit_metre", "DEVICE")

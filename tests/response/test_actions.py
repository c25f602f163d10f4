from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from response.actions import acknowledge, actions_of, comment, unacknowledge
from response.alerts import alert_rows
from response.db import writing
from response.notices import notices
from response.outbox import take_in
from tests.response.community import START_US, change_of, public_of

EPISODE = change_of().episode


@pytest.fixture
def fired(engine: Engine) -> Engine:
    with writing(engine) as session:
        take_in(session, [change_of()], public_of(), START_US)
    return engine


def test_acknowledging_twice_keeps_the_first(fired: Engine) -> None:
    first = acknowledge(fired, EPISODE, "王工", START_US + 1, "马上到")
    again = acknowledge(fired, EPISODE, "李工", START_US + 2)
    assert (first.outcome, first.by, first.cancelled) == ("acknowledged", "王工", 2)
    assert (again.outcome, again.by, again.at_us) == ("already", "王工", START_US + 1)
    (row,) = alert_rows(fired, 1)
    assert (row.acknowledged_by, row.acknowledged_us) == ("王工", START_US + 1)
    (action,) = actions_of(fired, [EPISODE])[EPISODE]
    assert (action.kind, action.who, action.text) == ("acknowledge", "王工", "马上到")


def test_taking_an_acknowledgement_back_tells_those_who_were_not_told(fired: Engine) -> None:
    acknowledge(fired, EPISODE, "王工", START_US + 1)
    undone = unacknowledge(fired, EPISODE, "王工", START_US + 2, "看错了")
    assert (undone.outcome, undone.told) == ("unacknowledged", 2)
    assert {row.state for row in notices(fired, 10)} == {"waiting"}
    assert unacknowledge(fired, EPISODE, "王工", START_US + 3).outcome == "was_not"
    kinds = [action.kind for action in actions_of(fired, [EPISODE])[EPISODE]]
    assert kinds == ["acknowledge", "unacknowledge"]


def test_taking_it_back_after_the_end_tells_nobody(fired: Engine) -> None:
    acknowledge(fired, EPISODE, "王工", START_US + 1)
    with writing(fired) as session:
        take_in(session, [change_of("resolved", at_us=START_US + 2)], public_of(), START_US + 2)
    assert unacknowledge(fired, EPISODE, "王工", START_US + 3).told == 0


def test_comments_are_kept_in_their_order(fired: Engine) -> None:
    for n in range(3):
        comment(fired, EPISODE, "王工", START_US + n, f"第{n}次")
    texts = [action.text for action in actions_of(fired, [EPISODE, "none"])[EPISODE]]
    assert texts == ["第0次", "第1次", "第2次"]
    assert actions_of(fired, ["none"]) == {"none": ()}


@pytest.mark.parametrize(
    "act",
    [
        lambda engine: acknowledge(engine, "0" * 16, "li", START_US),
        lambda engine: unacknowledge(engine, "0" * 16, "li", START_US),
        lambda engine: comment(engine, "0" * 16, "li", START_US, "x"),
        lambda engine: acknowledge(engine, "0" * 16, "li", START_US, known=change_of()),
    ],
    ids=["acknowledge", "unacknowledge", "comment", "acknowledge another"],
)
def test_an_unknown_alert_is_refused(engine: Engine, act: Callable[[Engine], object]) -> None:
    with pytest.raises(LookupError, match="no alert '0000000000000000'"):
        act(engine)


def test_what_cannot_be_kept_is_refused(fired: Engine) -> None:
    with pytest.raises(ValueError, match="a name is needed"):
        acknowledge(fired, EPISODE, " ", START_US)
    with pytest.raises(ValueError, match="needs a text"):
        comment(fired, EPISODE, "li", START_US, "  ")
    with pytest.raises(ValueError, match="at most 4,000"):
        comment(fired, EPISODE, "li", START_US, "x" * 4_001)
    assert actions_of(fired, [EPISODE])[EPISODE] == ()


def test_an_older_change_does_not_undo_a_newer_one(engine: Engine) -> None:
    end = change_of("resolved", at_us=START_US + 5)
    acknowledge(engine, EPISODE, "王工", START_US + 6, known=end)
    with writing(engine) as session:
        take_in(session, [change_of()], public_of(), START_US + 6)
    (row,) = alert_rows(engine, 1)
    assert (row.state, row.resolved_us) == ("resolved", START_US + 5)
    assert notices(engine, 10) == ()


def test_alerts_can_be_asked_for_by_state_and_by_name(engine: Engine) -> None:
    end = change_of("resolved", at_us=START_US + 9)
    with writing(engine) as session:
        take_in(session, [change_of(), end, change_of(rule="x")], public_of(), START_US)
    assert [row.rule for row in alert_rows(engine, 10, open_only=True)] == ["x"]
    assert [row.episode for row in alert_rows(engine, 10, episodes=[EPISODE])] == [EPISODE]
    assert dict(alert_rows(engine, 10, episodes=[EPISODE])[0].evidence) == {"pressure": 210.0}

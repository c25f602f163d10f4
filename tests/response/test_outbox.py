from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from ingest.changes import Change
from ingest.clock import US_PER_S
from response.actions import acknowledge, unacknowledge
from response.alerts import alert_rows
from response.db import writing
from response.leases import Leased, Terms, bury_unreachable, lease, mark_failed, mark_sent
from response.notices import attempts_of, counts, notices, prune, resend
from response.notifier import NotifierError, Receipt
from response.outbox import Public, Telling, take_in
from tests.response.community import ANN, LI, START_US, change_of, public_of

TERMS = Terms("d1", "Asia/Shanghai", max_attempts=3)
HOUR_US = 3_600 * US_PER_S


def tell(
    engine: Engine, *changes: Change, now_us: int | None = None, public: Public | None = None
) -> int:
    with writing(engine) as session:
        moment = max(change.at_us for change in changes) if now_us is None else now_us
        return take_in(session, changes, public or public_of(), moment)


def take(engine: Engine, now_us: int, limit: int = 100) -> tuple[Leased, ...]:
    return lease(engine, "memory", TERMS, now_us, now_us + 60 * US_PER_S, limit)


def send_all(engine: Engine, now_us: int) -> list[str]:
    """Sends what is due; returns `recipient subject` of each."""
    sent = []
    for leased in take(engine, now_us):
        mark_sent(engine, leased, Receipt("accepted"), now_us)
        sent.append(f"{leased.notice.recipient} {leased.notice.subject}")
    return sent


def states(engine: Engine) -> dict[str, str]:
    return {
        f"{row.kind}|{row.subscriber}": row.cancelled_because or row.state
        for row in notices(engine, 1_000)
    }


def test_a_firing_alert_is_told_to_those_who_want_to_know(engine: Engine) -> None:
    tell(engine, change_of(), change_of(device="post-8"), change_of(severity="info", rule="x"))
    assert sorted(send_all(engine, START_US)) == [
        "ann@example.org [Serious] Building 7: Supply pressure low: 210 kPa",
        "li@example.org 【严重】7栋：供水压力低 210 kPa",
        "li@example.org 【严重】8栋：供水压力低 210 kPa",
    ]


def test_what_goes_to_review_is_recorded_and_told_to_nobody(engine: Engine) -> None:
    tell(engine, change_of(audience="review"), change_of("resolved", audience="review"))
    assert len(alert_rows(engine, 10)) == 1
    assert notices(engine, 10) == ()


def test_taking_the_same_changes_in_again_does_nothing(engine: Engine) -> None:
    changes = [change_of(), change_of("resolved", at_us=START_US + 9)]
    assert tell(engine, changes[0]) == 2
    send_all(engine, START_US)
    assert tell(engine, changes[1]) == 2
    before = notices(engine, 10), alert_rows(engine, 10)
    assert tell(engine, *changes) == 0
    assert (notices(engine, 10), alert_rows(engine, 10)) == before


def test_unknown_and_known_tell_nobody(engine: Engine) -> None:
    tell(engine, change_of())
    tell(engine, change_of("unknown", at_us=START_US + 5))
    assert alert_rows(engine, 1)[0].state == "unknown"
    tell(engine, change_of("known", at_us=START_US + 6))
    assert alert_rows(engine, 1)[0].state == "firing"
    assert len(notices(engine, 10)) == 2


def test_the_end_is_told_to_those_who_were_told_of_the_beginning(engine: Engine) -> None:
    tell(engine, change_of())
    send_all(engine, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9))
    assert sorted(send_all(engine, START_US + 9)) == [
        "ann@example.org [Resolved] Building 7: Supply pressure low: 210 kPa",
        "li@example.org 【已恢复】7栋：供水压力低 210 kPa",
    ]


def test_an_alert_that_is_over_before_it_was_told_is_not_told(engine: Engine) -> None:
    tell(engine, change_of())
    tell(engine, change_of("resolved", at_us=START_US + 9))
    assert states(engine) == {"firing|li": "resolved", "firing|ann": "resolved"}
    assert send_all(engine, START_US + 9) == []


def test_the_end_waits_until_the_beginning_went_out(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (beginning,) = take(engine, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9), public=public_of(LI))
    assert take(engine, START_US + 9) == ()
    mark_sent(engine, beginning, Receipt("accepted"), START_US + 10)
    assert len(send_all(engine, START_US + 10)) == 1


def test_the_end_is_not_told_if_the_beginning_failed_meanwhile(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (beginning,) = take(engine, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9), public=public_of(LI))
    mark_failed(engine, beginning, NotifierError("down", permanent=False), START_US, START_US)
    assert states(engine) == {"firing|li": "resolved", "resolved|li": "never_told"}


def test_the_end_is_told_if_the_dispatcher_of_the_beginning_was_lost(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    take(engine, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9), public=public_of(LI))
    later_us = START_US + 61 * US_PER_S
    assert send_all(engine, later_us) == []
    assert send_all(engine, later_us) == ["li@example.org 【已恢复】7栋：供水压力低 210 kPa"]
    assert states(engine) == {"firing|li": "lost_track", "resolved|li": "sent"}


def lost_then_failed(engine: Engine) -> int:
    """A notice whose first dispatcher was lost, and whose second try failed; returns when."""
    tell(engine, change_of(), public=public_of(LI))
    take(engine, START_US)
    later_us = START_US + 60 * US_PER_S
    (leased,) = take(engine, later_us)
    mark_failed(engine, leased, NotifierError("down", permanent=False), later_us, later_us)
    return later_us


def test_who_may_have_been_told_before_a_crash_is_told_of_the_end(engine: Engine) -> None:
    later_us = lost_then_failed(engine)
    tell(engine, change_of("resolved", at_us=later_us), public=public_of(LI))
    assert states(engine)["firing|li"] == "lost_track"
    assert send_all(engine, later_us) == ["li@example.org 【已恢复】7栋：供水压力低 210 kPa"]


def test_who_may_have_been_told_is_told_again_if_an_acknowledgement_is_taken_back(
    engine: Engine,
) -> None:
    later_us = lost_then_failed(engine)
    acknowledge(engine, change_of().episode, "王工", later_us)
    assert states(engine) == {"firing|li": "lost_track"}
    assert unacknowledge(engine, change_of().episode, "王工", later_us).told == 1
    assert send_all(engine, later_us) == ["li@example.org 【严重】7栋：供水压力低 210 kPa"]


def test_acknowledging_cancels_what_is_not_yet_sent(engine: Engine) -> None:
    tell(engine, change_of())
    (first,) = take(engine, START_US, limit=1)
    mark_sent(engine, first, Receipt("accepted"), START_US)
    done = acknowledge(engine, change_of().episode, "王工", START_US + 1)
    assert done.cancelled == 1
    assert take(engine, START_US + 2) == ()
    tell(engine, change_of("resolved", at_us=START_US + 9))
    assert [row.kind for row in notices(engine, 10, state="waiting")] == ["resolved"]


def test_a_failed_try_is_not_repeated_after_an_acknowledgement(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (leased,) = take(engine, START_US)
    acknowledge(engine, change_of().episode, "王工", START_US + 1)
    mark_failed(engine, leased, NotifierError("down", permanent=False), START_US + 2, START_US)
    assert states(engine) == {"firing|li": "acknowledged"}


def test_an_alert_acknowledged_before_respond_saw_it_is_not_told(engine: Engine) -> None:
    acknowledge(engine, change_of().episode, "王工", START_US + 1, known=change_of())
    tell(engine, change_of())
    assert states(engine) == {"firing|li": "acknowledged", "firing|ann": "acknowledged"}
    undone = unacknowledge(engine, change_of().episode, "王工", START_US + 2)
    assert undone.told == 2
    assert len(send_all(engine, START_US + 2)) == 2


def test_a_lease_that_ran_out_is_sent_again_under_the_same_key(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (first,) = take(engine, START_US)
    assert take(engine, START_US + 59 * US_PER_S) == ()
    (second,) = take(engine, START_US + 60 * US_PER_S)
    assert (second.notice, second.attempt) == (first.notice, 2)
    outcomes = [entry.outcome for entry in attempts_of(engine, first.id)]
    assert outcomes == ["unknown"]


def test_a_late_word_of_the_first_dispatcher_does_not_disturb_the_second(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (first,) = take(engine, START_US)
    later_us = START_US + 60 * US_PER_S
    (second,) = take(engine, later_us)
    mark_failed(engine, first, NotifierError("slow", permanent=True), None, later_us)
    assert notices(engine, 1)[0].state == "leased"
    mark_sent(engine, second, Receipt("accepted"), later_us)
    assert notices(engine, 1)[0].state == "sent"


def test_dispatchers_that_die_over_a_notice_stop_at_the_limit(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    for n in range(TERMS.max_attempts):
        assert len(take(engine, START_US + n * 60 * US_PER_S)) == 1
    assert take(engine, START_US + HOUR_US) == ()
    (row,) = notices(engine, 1)
    assert (row.state, row.last_error) == ("dead", "d1 did not come back from try 3")


def test_a_dead_notice_shows_why_and_can_be_sent_again(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (leased,) = take(engine, START_US)
    error = NotifierError("no such mailbox", permanent=True, code="550")
    mark_failed(engine, leased, error, None, START_US)
    (dead,) = notices(engine, 10, state="dead")
    assert dead.last_error == "no such mailbox"
    (entry,) = attempts_of(engine, dead.id)
    assert (entry.outcome, entry.code) == ("dead", "550")
    resend(engine, dead.id, START_US + 5)
    assert len(send_all(engine, START_US + 5)) == 1
    with pytest.raises(ValueError, match="is sent"):
        resend(engine, dead.id, START_US + 6)
    with pytest.raises(LookupError, match="no notice 77"):
        resend(engine, 77, START_US)


def test_a_dead_notice_of_an_alert_that_is_over_is_not_sent_again(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(LI))
    (leased,) = take(engine, START_US)
    mark_failed(engine, leased, NotifierError("no", permanent=True), None, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9), public=public_of(LI))
    with pytest.raises(ValueError, match="resolved meanwhile"):
        resend(engine, leased.id, START_US + 10)
    assert states(engine) == {"firing|li": "dead"}


def test_notices_for_a_notifier_that_is_gone_are_buried_with_the_reason(engine: Engine) -> None:
    tell(engine, change_of(), public=public_of(replace(LI, notifier="pigeon")))
    assert bury_unreachable(engine, ("email", "memory")) == 1
    (row,) = notices(engine, 1)
    assert row.last_error == "no notifier 'pigeon' is open; there are: email, memory"


def test_the_most_severe_goes_first(engine: Engine) -> None:
    tell(engine, change_of(severity="warning", rule="w"), change_of(severity="urgent", rule="u"))
    leased = take(engine, START_US)
    assert [entry.notice.severity for entry in leased] == ["urgent", "urgent", "warning"]


def test_a_late_alert_is_told_as_late_after_a_moment(engine: Engine) -> None:
    now_us = START_US + 2 * HOUR_US
    tell(engine, change_of(), public=public_of(LI), now_us=now_us)
    assert take(engine, now_us) == ()
    (leased,) = take(engine, now_us + 30 * US_PER_S)
    assert leased.notice.text.startswith("（本通知迟到 2 小时")


def test_alerts_that_came_and_went_unseen_are_summed_up_in_one_notice(engine: Engine) -> None:
    now_us = START_US + 5 * HOUR_US
    for n in range(3):
        started_us = START_US + n * 600 * US_PER_S
        tell(engine, change_of(started_us=started_us), public=public_of(LI), now_us=now_us)
        end = change_of("resolved", started_us=started_us, at_us=started_us + 300 * US_PER_S)
        tell(engine, end, public=public_of(LI), now_us=now_us)
    assert send_all(engine, now_us + 60 * US_PER_S) == []
    (leased,) = take(engine, now_us + 600 * US_PER_S)
    assert leased.notice.subject == "【汇总】3 条告警通知"
    assert leased.notice.text.count("【已恢复】7栋：供水压力低 210 kPa，持续 5 分钟") == 3
    mark_sent(engine, leased, Receipt("accepted"), now_us + HOUR_US)
    assert {row.state for row in notices(engine, 10) if row.kind == "missed"} == {"sent"}


def storm(engine: Engine, count: int, public: Public) -> list[Change]:
    changes = [change_of(rule=f"r{n}", started_us=START_US + n) for n in range(count)]
    tell(engine, *changes, public=public, now_us=START_US + count)
    return changes


def test_a_storm_ends_in_one_digest_and_its_end_is_told_too(engine: Engine) -> None:
    public = public_of(LI, telling=Telling(per_hour=5))
    changes = storm(engine, 12, public)
    assert len(send_all(engine, START_US + 12)) == 5
    acknowledge(engine, changes[-1].episode, "王工", START_US + 13)
    due_us = START_US + 12 + 600 * US_PER_S
    assert send_all(engine, due_us) == ["li@example.org 【汇总】6 条告警通知"]
    assert counts(engine, due_us).waiting == 0
    over = replace(changes[-2], state="resolved", at_us=due_us)
    tell(engine, over, public=public)
    (line,) = notices(engine, 10, state="waiting", episode=over.episode)
    assert (line.kind, line.digest_id is not None) == ("resolved", True)


def test_urgent_alerts_are_never_held_back_by_a_storm(engine: Engine) -> None:
    public = public_of(LI, telling=Telling(per_hour=2))
    storm(engine, 4, public)
    tell(engine, change_of(severity="urgent", started_us=START_US + 4), public=public)
    assert sum("紧急" in line for line in send_all(engine, START_US + 4)) == 1


def test_a_digest_whose_lines_are_all_pointless_is_not_sent(engine: Engine) -> None:
    public = public_of(LI, telling=Telling(per_hour=1))
    first, second = storm(engine, 2, public)
    send_all(engine, START_US + 2)
    acknowledge(engine, second.episode, "王工", START_US + 3)
    assert send_all(engine, START_US + HOUR_US) == []
    assert states(engine)["digest|li"] == "empty"
    assert first.episode != second.episode


def test_a_digest_that_fails_keeps_its_lines_for_the_next_try(engine: Engine) -> None:
    public = public_of(LI, telling=Telling(per_hour=1))
    changes = storm(engine, 4, public)
    send_all(engine, START_US + 4)
    due_us = START_US + HOUR_US
    (leased,) = take(engine, due_us)
    mark_failed(engine, leased, NotifierError("down", permanent=False), due_us + 5, due_us)
    acknowledge(engine, changes[-1].episode, "王工", due_us + 1)
    (again,) = take(engine, due_us + 5)
    assert again.notice.key == leased.notice.key
    assert again.notice.subject == "【汇总】2 条告警通知"
    mark_failed(engine, again, NotifierError("no", permanent=True), None, due_us + 6)
    assert counts(engine, due_us).dead == 3
    resend(engine, again.id, due_us + 7)
    assert send_all(engine, due_us + 7) == ["li@example.org 【汇总】2 条告警通知"]


def test_a_line_whose_turn_has_not_come_leaves_the_digest(engine: Engine) -> None:
    public = public_of(LI, telling=Telling(per_hour=2))
    changes = storm(engine, 3, public)
    due_us = START_US + 601 * US_PER_S
    terms_us = due_us + HOUR_US
    first, *_ = lease(engine, "memory", TERMS, START_US + 3, terms_us, 1)
    tell(engine, replace(changes[0], state="resolved", at_us=START_US + 4), public=public)
    tell(engine, replace(changes[1], state="resolved", at_us=START_US + 4), public=public)
    assert send_all(engine, due_us) == ["li@example.org 【汇总】1 条告警通知"]
    assert send_all(engine, due_us) == []
    mark_sent(engine, first, Receipt("accepted"), due_us)
    assert send_all(engine, due_us) == ["li@example.org 【已恢复】7栋：供水压力低 210 kPa"]


def test_counts_tell_how_long_the_oldest_waits(engine: Engine) -> None:
    tell(engine, change_of())
    found = counts(engine, START_US + 90 * US_PER_S)
    assert (found.waiting, found.sent, found.oldest_age_s) == (2, 0, 90.0)


def test_old_notices_are_deleted_and_alerts_stay(engine: Engine) -> None:
    tell(engine, change_of())
    send_all(engine, START_US)
    tell(engine, change_of("resolved", at_us=START_US + 9))
    send_all(engine, START_US + 9)
    tell(engine, change_of(rule="x"))
    while prune(engine, START_US + HOUR_US):
        pass
    assert {row.state for row in notices(engine, 10)} == {"waiting"}
    assert len(alert_rows(engine, 10)) == 2


def test_ann_is_told_of_her_building_from_serious_on() -> None:
    assert ANN.wants("urgent", "b7")
    assert ANN.wants("serious", "b7")
    assert not ANN.wants("warning", "b7")
    assert not ANN.wants("urgent", "b8")
    assert not ANN.wants("urgent", "")

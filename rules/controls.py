"""What people and the service itself decided: control records, at grid points."""

from __future__ import annotations

from ingest.changes import SEVERITIES, Change, ChangeState
from ingest.clock import US_PER_S, format_us
from ingest.document import DocumentError
from ingest.inputs import Control, Json
from rules.kind import NEVER_US
from rules.reload import swap_rulebook
from rules.rulebook import load_rulebook
from rules.state import State, System
from rules.telling import in_order, orphan_changes
from rules.wording import episode_of

SYSTEM_DEVICE = "courtyard"
REFUSED = "rulebook_refused"

SYSTEM_MAX = 256
"""Open alerts about the service itself; codes are ours, and far fewer."""


def obey(state: State, control: Control, at_us: int) -> list[Change]:
    """The changes that a record makes at the grid point after it came; other kinds make none."""
    if control.kind == "rulebook":
        return _new_rulebook(state, control, at_us)
    if control.kind == "system":
        return _system(state, dict(control.body), at_us)
    if control.kind == "deaf":
        _excuse(state, control.body.get("deaf_us"), at_us)
    return []


def _excuse(state: State, deaf_us: Json, at_us: int) -> None:
    """Time in which the service itself heard nobody (it was down, or its broker away) is nobody's
    silence: what counts towards it begins so much later. The time may be the one just gone by, or
    the one that follows until the service listens again."""
    if not isinstance(deaf_us, int) or deaf_us <= 0:
        return
    heard = state.devices.heard_us
    heard[heard != NEVER_US] += deaf_us
    alerts = state.alerts
    for view in state.views:
        if view.main.kind.per == "device":
            n = len(view.channels)
            view.known_us[:n] += deaf_us
            numbers = view.alert[:n]
            alerts.ask_us[numbers] = NEVER_US
            alerts.due_us[numbers] = at_us + US_PER_S


def _new_rulebook(state: State, control: Control, at_us: int) -> list[Change]:
    file, text = str(control.body.get("file", "rulebook")), str(control.body.get("text", ""))
    try:
        rulebook = load_rulebook(file, text)
    except DocumentError as error:
        first = str(error.problems[0])
        body: dict[str, Json] = {
            "code": REFUSED,
            "state": "firing",
            "severity": "serious",
            "zh": f"新规则书有误，仍用原来的：{first}",
            "en": f"The new rulebook was refused, the old one stays in force: {first}",
            "problems": [str(problem) for problem in error.problems[:20]],
        }
        return _system(state, body, at_us)
    orphans = swap_rulebook(state, rulebook, at_us)
    over: dict[str, Json] = {"code": REFUSED, "state": "resolved"}
    return in_order(orphan_changes(orphans, at_us)) + _system(state, over, at_us)


def _system(state: State, body: dict[str, Json], at_us: int) -> list[Change]:
    """A code that fires while it fires already, or ends while it does not, changes nothing."""
    code, word = str(body.get("code", "")), body.get("state")
    open_one = state.system.get(code)
    if word == "firing" and not open_one and code and len(state.system) < SYSTEM_MAX:
        state.system[code] = System(at_us, body)
        return [_system_change(state, code, "firing", state.system[code], at_us)]
    if word == "resolved" and open_one:
        del state.system[code]
        return [_system_change(state, code, "resolved", open_one, at_us)]
    return []


def _system_change(
    state: State, code: str, word: ChangeState, system: System, at_us: int
) -> Change:
    body, started_us = system.body, system.started_us
    severity = body.get("severity")
    shown = {k: v for k, v in body.items() if k not in ("code", "state", "severity", "zh", "en")}
    return Change(
        episode=episode_of(code, state.site, SYSTEM_DEVICE, "main", started_us),
        rule=code,
        site=state.site,
        device=SYSTEM_DEVICE,
        channel="main",
        severity=severity if severity in SEVERITIES else "warning",
        audience="people",
        state=word,
        at_us=at_us,
        started_us=started_us,
        since_us=started_us,
        text_zh=str(body.get("zh", code)),
        text_en=str(body.get("en", code)),
        evidence={"since": format_us(started_us), **shown},
    )

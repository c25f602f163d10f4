"""Whether the names in a rule exist: device types, metrics, parameters, words of messages."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ingest.device import DeviceType
from ingest.metrics import CATALOGUE
from ingest.registry import device_type
from ingest.shelf import nearest, shelf_words
from rules.form import OnForm, RuleForm
from rules.kind import Kind
from rules.message import PLACE_WORDS, template_words

Finding = tuple[Sequence[str | int], str]
"""Where in the rule, and what is wrong."""


def findings(form: RuleForm, kind: Kind, clear: Kind | None) -> list[Finding]:
    """What only the catalogue, the device types and the kind together can know."""
    metrics = tuple(dict.fromkeys((*kind.metrics, *(clear.metrics if clear else ()))))
    parameters = tuple(dict.fromkeys((*kind.parameters, *(clear.parameters if clear else ()))))
    types = shelf_words("ingest.devices")
    found: list[Finding] = [
        (["on", "type"], f"no device type {word!r}{nearest(word, types)}")
        for word in form.on.type
        if not any(fnmatchcase(one, word) for one in types)
    ]
    found += [
        (_metric_key(form), f"no metric {word!r}{nearest(word, tuple(CATALOGUE))}")
        for word in metrics
        if word not in CATALOGUE
    ]
    found = found or _type_findings(form, kind, metrics, parameters)
    return found + _message_findings(form, kind)


def _type_findings(
    form: RuleForm, kind: Kind, metrics: tuple[str, ...], parameters: tuple[str, ...]
) -> list[Finding]:
    found: list[Finding] = []
    for known in _selected(form.on):
        if missing := _unmeasured(known, form.on.channel, metrics, kind.per):
            where = "" if form.on.channel == "*" else f" on a channel {form.on.channel}"
            together = " together" if len(metrics) > 1 and kind.per == "channel" else ""
            text = f"a {known.name} does not measure {', '.join(missing)}{together}{where}"
            found.append((_metric_key(form), text))
        found += [
            (
                _metric_key(form),
                f"a {known.name} has no parameter {name!r}{nearest(name, tuple(known.parameters))}",
            )
            for name in parameters
            if name not in known.parameters
        ]
    return found


def _selected(on: OnForm) -> list[DeviceType]:
    """The types that a rule names; a rule for any type asks nothing of one in particular."""
    types = shelf_words("ingest.devices")
    return [
        device_type(word)
        for word in types
        if any(fnmatchcase(word, pattern) for pattern in on.type)
    ]


def _unmeasured(
    known: DeviceType, channel: str, metrics: tuple[str, ...], per: str
) -> tuple[str, ...]:
    """The metrics that no channel in question has; for a kind that looks at one channel at a time,
    one channel and the main one must have them all. A channel that the type does not know may
    have any."""
    main = {quantity.metric for quantity in known.channels.get("main", ())}
    offered = [
        {quantity.metric for quantity in quantities} | main
        for pattern, quantities in known.channels.items()
        if fnmatchcase(pattern, channel) or fnmatchcase(channel, pattern)
    ]
    if not offered:
        return ()
    if per == "device":
        offered = [set().union(*offered)]
    missing = [tuple(word for word in metrics if word not in one) for one in offered]
    return min(missing, key=len)


def _message_findings(form: RuleForm, kind: Kind) -> list[Finding]:
    valid = (*PLACE_WORDS, *kind.metrics, *(f"param.{name}" for name in kind.parameters))
    found: list[Finding] = []
    for language, template in (("zh", form.message.zh), ("en", form.message.en)):
        try:
            words = template_words(template)
        except ValueError as error:
            found.append((["message", language], str(error)))
            continue
        found += [
            (["message", language], f"no {{{word}}} here{nearest(word, valid)}")
            for word in words
            if word not in valid
        ]
    return found


def _metric_key(form: RuleForm) -> Sequence[str | int]:
    keys = ("when", "metric", "kind")
    return [next(key for key in keys if getattr(form, key, None) is not None)]

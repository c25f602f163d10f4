from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from ingest.document import DocumentError
from ingest.registry import Device, Text
from ingest.shelf import shelf_words
from rules.check import check
from rules.form import kind_class, rule_form
from rules.kind import Told
from rules.kinds.expression import Expression
from rules.message import fill, template_words
from rules.rule import Rule, Selector
from rules.rulebook import RULES_MAX, SHIPPED, load_rulebook, shipped_rulebook
from rules.schema import rulebook_schema

PRESSURE = """\
rules:
  - id: P10_low
    on: {type: pump, tag: supply}
    when: pressure < param.set_pressure - 50 kPa
    for: 2m
    clear: pressure > param.set_pressure - 30 kPa
    clear_for: 1m
    severity: serious
    message: {zh: "{building}压力低 {pressure}", en: "{building} low: {pressure}"}
    standard: {id: CJJ 140, edition: verify}
"""


def only(text: str) -> Rule:
    (rule,) = load_rulebook("book.yaml", text).rules
    return rule


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load_rulebook("book.yaml", text)
    return [str(problem) for problem in caught.value.problems]


def rule_with(*lines: str, drop: tuple[str, ...] = ()) -> str:
    """The rule of PRESSURE without the lines of `drop`, and with `lines`."""
    kept = [line for line in PRESSURE.splitlines() if line.strip().split(":")[0] not in drop]
    return "\n".join([*kept, *(f"    {line}" for line in lines)]) + "\n"


def test_a_rule_is_read_with_all_that_it_says() -> None:
    rule = only(PRESSURE)
    assert rule.on == Selector(types=("pump",), tags=("supply",))
    assert isinstance(rule.kind, Expression)
    assert rule.kind.when == "pressure < param.set_pressure - 50 kPa"
    assert isinstance(rule.clear, Expression)
    assert rule.clear.parameters == ("set_pressure",)
    assert (rule.for_s, rule.clear_for_s, rule.keep_firing_s) == (120, 60, 0)
    assert (rule.severity, rule.audience, rule.stale_after_s) == ("serious", "people", None)
    assert rule.standard == {"id": "CJJ 140", "edition": "verify"}
    assert rule.message_en == "{building} low: {pressure}"


def test_the_fields_of_a_kind_stand_beside_those_of_the_rule() -> None:
    rule = only(
        "rules:\n  - {id: a, on: {type: pump}, kind: absent, after: 5m, severity: warning,"
        " keep_firing: 10m, stale_after: 30s, audience: review}\n"
    )
    assert (rule.kind_word, rule.kind) == ("absent", kind_class("absent")(after_s=300))
    assert (rule.keep_firing_s, rule.stale_after_s, rule.audience) == (600, 30, "review")
    assert rule.clear is None


def test_the_text_of_a_file_is_kept_with_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "rulebook.yaml"
    file.write_text(PRESSURE, encoding="utf-8")
    book = load_rulebook(file)
    assert (book.file, book.text) == (str(file), PRESSURE)
    assert book == load_rulebook(file, PRESSURE)
    assert book.sha256 != load_rulebook(file, PRESSURE + "\n").sha256


def test_the_definition_of_a_rule_is_what_it_says_not_how_it_is_written() -> None:
    definition = only(PRESSURE).definition
    lines = PRESSURE.splitlines()
    turned = "\n".join([*lines[:2], *reversed(lines[2:])]) + "\n    keep_firing: 0s\n# remark\n"
    assert only(turned).definition == definition
    assert only(PRESSURE.replace("for: 2m", "for: 120s")).definition == definition
    for old, new in [("2m", "3m"), ("- 50", "- 51"), ("压力低", "低压"), ("serious", "info")]:
        assert only(PRESSURE.replace(old, new)).definition != definition


def test_a_selector_takes_words_lists_and_patterns() -> None:
    rule = only(rule_with('building: "x"', drop=("on",)).replace(
        '    building: "x"', "    on: {type: [pump], building: [b1, 'c*'], channel: 'pump.*'}"
    ))  # fmt: skip
    device = Device("p", "pump", "p", Text("泵", "pump"), building="c7", tags=frozenset({"supply"}))
    assert rule.on.takes_device("s", device)
    assert not rule.on.takes_device("s", dataclasses.replace(device, building="b2"))
    assert not rule.on.takes_device("s", dataclasses.replace(device, type="camera"))
    assert rule.on.takes_channel("pump.1")
    assert not rule.on.takes_channel("main")
    supply = Selector(tags=("supply", "fire"))
    assert supply.takes_device("s", device)
    assert not supply.takes_device("s", dataclasses.replace(device, tags=frozenset()))
    assert Selector().takes_device("s", device)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            rule_with("serverity: info"),
            "book.yaml:11:5 rules.0.serverity unknown key 'serverity'; did you mean 'severity'?",
        ),
        (
            rule_with("after: 5m"),
            "book.yaml:11:5 rules.0.after unknown key 'after'",
        ),
        (
            PRESSURE.replace("serious", "high"),
            "book.yaml:8:15 rules.0.severity Input should be 'urgent', 'serious', 'warning'",
        ),
        (
            rule_with(drop=("severity",)),
            "book.yaml:2:5 rules.0.severity Field required",
        ),
        (
            PRESSURE.replace("< param.set_pressure", "< param.set_presure"),
            "book.yaml:4:22 rules.0.when no device type has a parameter 'set_presure'; did you",
        ),
        (
            PRESSURE.replace("50 kPa", "50 Cel"),
            "book.yaml:4:43 rules.0.when kPa and Cel are different things",
        ),
        (
            PRESSURE.replace("when: pressure < param.set_pressure - 50 kPa", 'when: "presure < 3"'),
            "book.yaml:4:12 rules.0.when unknown name 'presure'; did you mean 'pressure'?",
        ),
        (
            PRESSURE.replace(
                "when: pressure < param.set_pressure - 50 kPa",
                "when: >-\n      pressure <\n      3 Cel",
            ),
            "book.yaml:4:11 rules.0.when at character 12: kPa and Cel are different things",
        ),
        (
            PRESSURE.replace("clear: pressure > param", "clear: flow > param"),
            "book.yaml:6:40 rules.0.clear m3/h and kPa are different things",
        ),
        (
            PRESSURE.replace("type: pump", "type: pumps"),
            "book.yaml:3:16 rules.0.on.type no device type 'pumps'; did you mean 'pump'?",
        ),
        (
            PRESSURE.replace("type: pump", "type: camera"),
            "book.yaml:4:11 rules.0.when a camera does not measure pressure",
        ),
        (
            PRESSURE.replace("type: pump", "type: 7"),
            "book.yaml:3:16 rules.0.on.type Input should be a valid tuple",
        ),
        (
            PRESSURE.replace(
                "pressure < param.set_pressure - 50 kPa", "pressure < param.residual_limit"
            ),
            "rules.0.when kPa and mA are different things",
        ),
        (
            rule_with("when: current > param.residual_limit", drop=("when", "clear", "message")),
            "book.yaml:8:11 rules.0.when a pump has no parameter 'residual_limit'; there are",
        ),
        (
            PRESSURE.replace("{building}压力低 {pressure}", "{building}压力低 {presure}"),
            "book.yaml:9:19 rules.0.message.zh no {presure} here; did you mean 'pressure'?",
        ),
        (
            PRESSURE.replace("{building} low", "{building low"),
            "book.yaml:9:51 rules.0.message.en a { or } that is not a {word}",
        ),
        (
            PRESSURE.replace("for: 2m", "for: 2 min"),
            "book.yaml:5:10 rules.0.for Value error, '2 min' is no duration: write a whole number",
        ),
        (
            PRESSURE.replace("for: 2m", "for: 120"),
            "book.yaml:5:10 rules.0.for Value error, a duration is a whole number and s, m, h or d",
        ),
        (
            PRESSURE.replace("for: 2m", "for: 36d"),
            "book.yaml:5:10 rules.0.for Value error, a duration is at most 35d",
        ),
        (
            rule_with("stale_after: 0s"),
            "book.yaml:11:18 rules.0.stale_after Input should be greater than 0",
        ),
        (
            PRESSURE.replace("id: P10_low", "id: P10 low"),
            "book.yaml:2:9 rules.0.id String should match pattern",
        ),
        (
            PRESSURE + PRESSURE.removeprefix("rules:\n"),
            "book.yaml:11:9 rules.1.id 'P10_low' is there twice",
        ),
        (
            "rules:\n  - {id: a, kind: absnt, severity: info}\n",
            "book.yaml:2:19 rules.0.kind no kind 'absnt'; did you mean 'absent'?",
        ),
        (
            "rules:\n  - {id: a, kind: absent, severity: info}\n",
            "book.yaml:2:5 rules.0.after Field required",
        ),
        (
            "rules:\n  - {id: a, kind: absent, after: 0s, severity: info}\n",
            "book.yaml:2:5 rules.0 kind absent: after must be longer than 0s",
        ),
        (
            "rules:\n  - {id: a, kind: rate, metric: presure, above: 3, severity: info}\n",
            "no metric 'presure'; did you mean 'pressure'?",
        ),
        (
            "rules:\n  - {id: a, kind: rate, metric: pressure, above: fast, severity: info}\n",
            "book.yaml:2:50 rules.0.above Input should be a valid number",
        ),
        (
            "rules:\n  - {id: a, kind: rate, metric: pressure, above: .inf, severity: info}\n",
            "book.yaml:2:50 rules.0.above Input should be",
        ),
        (
            "rules:\n  - {id: a, kind: stuck, metric: level, after: 6h, when: flow > 3 V,"
            " severity: info}\n",
            "rules.0.when m3/h and V are different things",
        ),
        ("rules: []\n", "book.yaml:1:1 rules a rulebook has at least one rule"),
        ("rules: 3\n", "book.yaml:1:8 rules Input should be a valid list"),
        ("rules: [3]\n", "book.yaml:1:9 rules.0 a rule is a table that begins with id:"),
        ("rule: []\n", "book.yaml:1:1 rule unknown key 'rule'; did you mean 'rules'?"),
        ("", "book.yaml:1:1"),
        ("rules: [\n", "book.yaml:2:1"),
        ("rules: " + "[" * 101, "book.yaml:1:108 more than 100 brackets are open"),
        ("rules: !!int x\n", "cannot be read as YAML"),
        (rule_with("for: 3m"), 'book.yaml:11:5 found duplicate key "for"'),
    ],
)
def test_a_mistake_is_told_where_it_stands(text: str, expected: str) -> None:
    assert expected in problems(text)[0]


def test_every_mistake_is_told_in_the_order_of_the_lines() -> None:
    second = PRESSURE.removeprefix("rules:\n").replace("P10_low", "P10_b")
    text = PRESSURE.replace("for: 2m", "for: x").replace("serious", "bad")
    text += second.replace("50 kPa", "50 V").replace("30 kPa", "30 V")
    assert [line.split(" ")[0] for line in problems(text)] == [
        "book.yaml:5:10",
        "book.yaml:8:15",
        "book.yaml:13:43",
        "book.yaml:15:44",
    ]


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    file = tmp_path / "book.yaml"
    file.write_bytes(b"rules:\n  - id: \xff\n")
    with pytest.raises(DocumentError, match=r"book\.yaml:2:9 +not UTF-8"):
        load_rulebook(file)


def test_too_many_rules_are_refused() -> None:
    text = "rules:\n" + "  - {}\n" * (RULES_MAX + 1)
    assert "at most 2,000" in problems(text)[0]


def test_a_rule_for_any_device_may_ask_for_what_one_of_them_measures() -> None:
    assert only("rules:\n  - {id: a, when: voltage < 180 V, severity: info}\n").on == Selector()


def test_one_channel_and_the_main_one_must_have_all_that_a_condition_asks_for() -> None:
    base = (
        "rules:\n  - {id: a, on: {type: charging_post, channel: '%s'}, when: %s, severity: info}\n"
    )
    assert only(base % ("port.*", "current > 5 A and voltage > 180 V"))
    assert (
        "does not measure current on a channel main"
        in problems(base % ("main", "current > 5 A"))[0]
    )
    assert only(base % ("shed", "humidity > 80"))  # a channel that the type does not know


def test_what_check_prints_for_good_and_bad_books(tmp_path: Path) -> None:
    code, lines = check("book.yaml", PRESSURE)
    assert (code, len(lines)) == (0, 1)
    assert "1 rule (1 serious)" in lines[0]
    code, lines = check("book.yaml", PRESSURE.replace("serious", "bad").replace("2m", "2x"))
    assert code == 1
    assert [line.split(" ")[:2] for line in lines] == [
        ["book.yaml:5:10", "rules.0.for"],
        ["book.yaml:8:15", "rules.0.severity"],
    ]
    assert check(tmp_path / "none.yaml")[0] == 1


def test_the_schema_takes_the_shipped_rulebook_and_is_itself_valid() -> None:
    schema = rulebook_schema()
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(YAML(typ="safe").load(SHIPPED))) == []


@pytest.mark.parametrize(
    "text",
    [
        rule_with("serverity: info"),
        rule_with("after: 5m"),
        PRESSURE.replace("serious", "high"),
        PRESSURE.replace("for: 2m", "for: 120"),
        PRESSURE.replace("P10_low", "P10 low"),
        PRESSURE.replace("type: pump", "type: 7"),
        PRESSURE.replace("tag: supply", "tags: supply"),
        rule_with(drop=("when",)),
        rule_with("kind: absent"),
        "rules:\n  - {id: a, kind: absnt, severity: info}\n",
        "rules:\n  - {id: a, kind: absent, severity: info}\n",
        "rules:\n  - {id: a, kind: rate, metric: presure, above: 3, severity: info}\n",
        "rules: []\n",
        "rule: []\n",
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    problems(text)
    assert list(Draft202012Validator(rulebook_schema()).iter_errors(YAML(typ="safe").load(text)))


def test_the_schema_tells_both_languages_everywhere() -> None:
    definitions = rulebook_schema()["$defs"]
    for name, part in definitions.items():
        for key, field in part["properties"].items():
            assert " / " in field.get("description", "") or key == "kind", (name, key)


@pytest.mark.parametrize("word", shelf_words("rules.kinds"))
def test_every_kind_tells_what_its_fields_mean_and_has_a_manual(word: str) -> None:
    cls = kind_class(word)
    hints = get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    untold = [
        name
        for name in fields
        if not any(isinstance(extra, Told) for extra in getattr(hints[name], "__metadata__", ()))
    ]
    assert untold == []
    assert cls.__doc__
    assert rule_form(word).model_fields["kind"].default == word


def test_messages_are_filled_from_words() -> None:
    assert template_words("{building}压力 {pressure} {pressure}") == ("building", "pressure")
    assert fill("{a.b} 与 {c}", {"a.b": "3 kPa"}) == "3 kPa 与 ?"
    with pytest.raises(ValueError):
        template_words("{0}")


def test_the_shipped_rulebook_is_found_and_checked() -> None:
    book = shipped_rulebook()
    assert len({rule.definition for rule in book.rules}) == len(book.rules) > 50
    assert check(SHIPPED)[0] == 0


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["pump", "5m", "absent", "pressure < 3", "info", "{building}", "level"]),
)  # fmt: skip
KEY_WORDS = """
id on kind when for clear clear_for keep_firing severity audience message standard metric
stale_after after tolerance above zh en type tag channel edition
"""
KEYS = st.sampled_from(KEY_WORDS.split())
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=8)),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(KEYS, TREES, max_size=8), max_size=3))
@example([{"id": "a", "severity": "info", "when": "pressure < 3", "on": {"type": ["pump", 3]}}])
def test_no_tree_does_worse_than_a_document_error(rules: list[Any]) -> None:
    text = _yaml({"rules": rules})
    try:
        book = load_rulebook("book.yaml", text)
    except DocumentError as error:
        told = error.problems
    else:
        told = ()
        assert book.rules
    assert all(problem.line >= 1 and problem.column >= 1 for problem in told)


PIECES = st.sampled_from([*PRESSURE.split(" "), "&a", "*a", "!!", "? ", "[", "{", "\t", "|"])


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map(" ".join)))
@example("rules: " + "[" * 5_000)
@example("rules: 2024-99-99")
@example("a: &a [*a]")
@example("rules: &r [*r]")
@example("\ud800")
def test_no_text_does_worse_than_a_document_error(text: str) -> None:
    try:
        load_rulebook("book.yaml", text)
    except DocumentError as error:
        told = error.problems
    else:
        return
    assert told


def _yaml(tree: Any) -> str:

    buffer = io.StringIO()
    YAML(typ="safe").dump(tree, buffer)
    return buffer.getvalue()


def test_the_example_of_the_manual_is_a_rulebook() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rulebook.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    assert [rule.kind_word for rule in load_rulebook("docs", example).rules] == [
        "expression",
        "absent",
    ]

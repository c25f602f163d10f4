"""Reads the operators' rulebook: YAML in, rules out, every mistake told with line and column."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ingest.document import Document, DocumentError, Problem, Strict, read_document
from ingest.shelf import nearest, shelf_words
from rules.expression import compile_condition
from rules.form import ExpressionForm, RuleForm, built_kind, kind_class, rule_form
from rules.kind import Kind
from rules.names import findings
from rules.rule import Rule, Rulebook, Selector
from rules.terms import ExpressionError

RULES_MAX = 2_000
BYTES_MAX = 1_000_000
BRACKETS_MAX = 100  # open at a time; a YAML reader takes 20 s for 2,000 of them

SHIPPED = Path(__file__).parent / "shipped" / "rulebook.yaml"

Place = Sequence[str | int]


class _File(Strict):
    rules: list[Any]


def load_rulebook(file: Path | str, text: str | None = None) -> Rulebook:
    """The rulebook in `file`, or in `text` under its name. Raises DocumentError with the line and
    column of every problem, OSError where there is no file."""
    document, body = _read(file, text)
    rows = document.parse(_File).rules
    if not 0 < len(rows) <= RULES_MAX:
        message = f"a rulebook has at least one rule and at most {RULES_MAX:,}"
        raise DocumentError([document.problem(["rules"], message)])
    rules, problems = _rules(document, body, len(rows))
    if problems:
        raise DocumentError(sorted(problems, key=lambda p: (p.line, p.column)))
    return Rulebook(tuple(rules), document.sha256, document.file, body)


def shipped_rulebook() -> Rulebook:
    """The rulebook that comes with Courtyard."""
    return load_rulebook(SHIPPED)


def _read(file: Path | str, text: str | None) -> tuple[Document, str]:
    raw = Path(file).read_bytes() if text is None else text.encode("utf-8", "replace")
    if len(raw) > BYTES_MAX:
        raise DocumentError([Problem(str(file), 1, 1, "", f"longer than {BYTES_MAX:,} bytes")])
    try:
        body = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise DocumentError([Problem(str(file), line, column, "", "not UTF-8")]) from None
    if (at := _too_deep(body)) is not None:
        line, column = body.count("\n", 0, at) + 1, at - body.rfind("\n", 0, at)
        message = f"more than {BRACKETS_MAX} brackets are open"
        raise DocumentError([Problem(str(file), line, column, "", message)])
    return read_document(file, body), body


def _too_deep(body: str) -> int | None:
    """Where more brackets are open than any rulebook needs; quotes are not looked at."""
    depth = 0
    for match in re.finditer(r"[\[\]{}]", body):
        depth = max(0, depth + (1 if match.group() in "[{" else -1))
        if depth > BRACKETS_MAX:
            return match.start()
    return None


def _rules(document: Document, body: str, count: int) -> tuple[list[Rule], list[Problem]]:
    rules: list[Rule] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    lines = body.splitlines()
    for row in range(count):
        try:
            form = _form(document, row)
        except DocumentError as error:
            problems += error.problems
            continue
        found = [document.problem(["rules", row, "id"], f"{form.id!r} is there twice")]
        problems += found if form.id in seen else []
        seen.add(form.id)
        rule, found = _rule(document, lines, row, form)
        problems += found
        rules += [rule] if rule else []
    return rules, problems


def _form(document: Document, row: int) -> RuleForm:
    at: Place = ["rules", row]
    tree = document.tree["rules"][row]
    if not isinstance(tree, dict):
        raise DocumentError([document.problem(at, "a rule is a table that begins with id:")])
    word = tree.get("kind", "expression")
    kinds = shelf_words("rules.kinds")
    if word not in kinds:
        problem = document.problem([*at, "kind"], f"no kind {word!r}{nearest(str(word), kinds)}")
        raise DocumentError([problem])
    return document.parse(rule_form(str(word)), at)


def _rule(
    document: Document, lines: list[str], row: int, form: RuleForm
) -> tuple[Rule | None, list[Problem]]:
    at: Place = ["rules", row]
    problems = [
        _in_text(document, lines, [*at, key], error) for key, error in _condition_errors(form)
    ]
    if problems:
        return None, problems
    try:
        kind = built_kind(form.kind, form)
    except ValueError as error:
        return None, [document.problem(at, f"kind {form.kind}: {error}")]
    clear = _clear(form)
    problems = [
        document.problem([*at, *path], message) for path, message in findings(form, kind, clear)
    ]
    return (None, problems) if problems else (_made(form, kind, clear), [])


def _condition_errors(form: RuleForm) -> Iterator[tuple[str, ExpressionError]]:
    """A field `when` or `clear` holds a condition, whatever the kind."""
    for key in ("when", "clear"):
        text = getattr(form, key, None)
        if isinstance(text, str):
            try:
                compile_condition(text)
            except ExpressionError as error:
                yield key, error


def _in_text(document: Document, lines: list[str], path: Place, error: ExpressionError) -> Problem:
    """At the character, where the text stands in one line as it is; else at its beginning."""
    problem = document.problem(path, error.message)
    text = document.tree
    for step in path:
        text = text[step]
    line = lines[problem.line - 1] if problem.line <= len(lines) else ""
    for quote in ("", '"', "'"):
        if line[problem.column - 1 :].startswith(f"{quote}{text}"):
            column = problem.column + len(quote) + error.column - 1
            return dataclasses.replace(problem, column=column)
    return dataclasses.replace(problem, message=f"at character {error.column}: {error.message}")


def _clear(form: RuleForm) -> Kind | None:
    if not isinstance(form, ExpressionForm) or form.clear is None:
        return None
    made: Kind = kind_class("expression")(when=form.clear)
    return made


def _made(form: RuleForm, kind: Kind, clear: Kind | None) -> Rule:
    on = form.on
    standard = form.standard.model_dump() if form.standard else None
    selector = Selector(on.type, on.tag, on.site, on.building, on.device, on.channel)
    return Rule(
        id=form.id,
        on=selector,
        kind=kind,
        kind_word=form.kind,
        clear=clear,
        for_s=form.for_s,
        clear_for_s=form.clear_for_s,
        keep_firing_s=form.keep_firing_s,
        severity=form.severity,
        audience=form.audience,
        message_zh=form.message.zh,
        message_en=form.message.en,
        stale_after_s=form.stale_after_s,
        standard=standard,
        definition=_definition(form),
    )


def _definition(form: RuleForm) -> str:
    """The sha256 of what the rule says with its defaults filled in, however it was written."""
    canonical = json.dumps(form.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()

"""What `courtyard rules check` says about a rulebook."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ingest.changes import SEVERITIES
from ingest.document import DocumentError
from rules.rule import Rulebook
from rules.rulebook import load_rulebook


def check(file: Path | str, text: str | None = None) -> tuple[int, tuple[str, ...]]:
    """The exit code, and the lines to print: one `file:line:column path message` a problem, or
    one line that sums up what is in the book."""
    try:
        rulebook = load_rulebook(file, text)
    except DocumentError as error:
        return 1, tuple(str(problem) for problem in error.problems)
    except OSError as error:
        return 1, (f"{file}:1:1 cannot be read: {error.strerror or error}",)
    return 0, (summary(rulebook),)


def summary(rulebook: Rulebook) -> str:
    """`rulebook.yaml: 66 rules (10 urgent, 24 serious, …), sha256 …`"""
    count = Counter(rule.severity for rule in rulebook.rules)
    severities = ", ".join(f"{count[word]} {word}" for word in SEVERITIES if count[word])
    n = len(rulebook.rules)
    rules = "1 rule" if n == 1 else f"{n} rules"
    return f"{rulebook.file}: {rules} ({severities}), sha256 {rulebook.sha256[:16]}"

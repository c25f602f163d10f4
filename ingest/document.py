"""A YAML document that a person wrote: read strictly, every mistake told with line and column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ingest.shelf import nearest


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.path} {self.message}".replace(
            "  ", " "
        )


class DocumentError(Exception):
    """A document that cannot be used, with every problem that was found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Strict(BaseModel):
    """A part of a document. An unknown key is refused with the nearest valid word."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            words = tuple(info.alias or name for name, info in cls.model_fields.items())
            for key in data:
                if key not in words:
                    hint = nearest(str(key), words)
                    raise PydanticCustomError(
                        "unknown_key", "unknown key {key}{hint}", {"key": repr(key), "hint": hint}
                    )
        return data


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, its tree with positions, and the hash by which it is known."""

    file: str
    tree: Any
    sha256: str

    def problem(self, path: Sequence[str | int], message: str, *, at_key: bool = False) -> Problem:
        """A problem with the value (or the key) that `path` names, or its nearest ancestor."""
        line, column = _position(self.tree, path, at_key=at_key)
        return Problem(self.file, line, column, ".".join(str(part) for part in path), message)

    def parse(self, model: type[M], at: Sequence[str | int] = ()) -> M:
        """The document, or its part `at` a path. Raises DocumentError with all problems, in the
        order of their lines."""
        tree = self.tree
        for step in at:
            tree = tree[step]
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            problems = [self._told(entry, at) for entry in error.errors()]
            raise DocumentError(sorted(problems, key=lambda p: (p.line, p.column))) from None

    def _told(self, entry: Any, at: Sequence[str | int]) -> Problem:
        path = [*at, *(part for part in entry["loc"] if not _is_union_tag(part))]
        unknown = entry["type"] == "unknown_key"
        if unknown:
            path.append(entry["ctx"]["key"].strip("'"))
        return self.problem(path, entry["msg"], at_key=unknown)


def read_document(file: Path | str, text: str | None = None) -> Document:
    """Reads `file`, or `text` under its name. Raises DocumentError on bad YAML, OSError on none."""
    try:
        body = Path(file).read_text(encoding="utf-8") if text is None else text
        tree = YAML(typ="rt", pure=True).load(body)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = (error.problem or "not valid YAML").split("\n")[0]
        raise DocumentError([Problem(str(file), line, column, "", message)]) from None
    except YAMLError as error:
        raise DocumentError([Problem(str(file), 1, 1, "", str(error))]) from None
    except (UnicodeDecodeError, ValueError, RecursionError, MemoryError) as error:
        # not UTF-8; a date or number that YAML knows and Python cannot hold; nested without end
        message = f"cannot be read as YAML: {error or type(error).__name__}"
        raise DocumentError([Problem(str(file), 1, 1, "", message)]) from None
    return Document(str(file), tree, hashlib.sha256(body.encode()).hexdigest())


def _is_union_tag(part: str | int) -> bool:
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "float", "bool"})


def _position(tree: Any, path: Sequence[str | int], *, at_key: bool) -> tuple[int, int]:
    line, column, node = 0, 0, tree
    for part in path:
        try:
            if isinstance(node, CommentedMap):
                line, column = node.lc.key(part)
                following = node[part]
                if not at_key and not isinstance(following, CommentedMap | CommentedSeq):
                    line, column = node.lc.value(part)
            elif isinstance(node, CommentedSeq) and isinstance(part, int):
                line, column = node.lc.item(part)
                following = node[part]
            else:
                break
        except (KeyError, IndexError, AttributeError, TypeError):
            break
        node = following
    return line + 1, column + 1

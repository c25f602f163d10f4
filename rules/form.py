"""The form of a rule in the YAML: the fields of every rule, and those of its kind."""

from __future__ import annotations

import dataclasses
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from ingest.changes import Audience, Severity
from ingest.clock import parse_duration_s
from ingest.document import Strict
from ingest.shelf import from_shelf
from rules.kind import Kind, Told
from rules.message import DEFAULT_EN, DEFAULT_ZH

DURATION_MAX_S = 35 * 86_400  # how far back late readings are taken, and so what replay can see
DURATION_PATTERN = "^[0-9]+[smhd]$"


def _duration_s(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a duration is a whole number and s, m, h or d, as 10m")
    seconds = parse_duration_s(str(value)) if len(value) <= 20 else DURATION_MAX_S + 1
    if seconds > DURATION_MAX_S:
        raise ValueError(f"a duration is at most {DURATION_MAX_S // 86_400}d")
    return seconds


def _words(value: object) -> object:
    if isinstance(value, str):
        return (str(value),)
    return tuple(value) if isinstance(value, list) else value


Duration = Annotated[
    int,
    BeforeValidator(_duration_s),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["50s", "10m"]}),
]
Words = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_words),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


class _Form(Strict):
    """Strict in types too: a number in quotes is text, and a rule file says what it means."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)


class OnForm(_Form):
    """What a rule is about. Every word may be a pattern, as `post-*`; what is left out is any."""

    type: Words = ()
    """设备类型 / Device types"""
    tag: Words = ()
    """设备标签，有其一即可 / Tags of the device, of which one is enough"""
    site: Words = ()
    """小区 / Sites"""
    building: Words = ()
    """楼栋 / Buildings"""
    device: Words = ()
    """设备编号 / Devices by their ids"""
    channel: str = "*"
    """通道，如 port.* / Channel, as in port.*"""


class MessageForm(_Form):
    """What people read, with {words}: places, metrics of the rule, param.NAME."""

    zh: str
    """中文 / Chinese"""
    en: str
    """英文 / English"""


class StandardForm(_Form):
    """The standard that a limit comes from. `edition: verify`: nobody has looked it up yet."""

    id: str
    """标准号 / Its number"""
    edition: str
    """版本年号 / Its edition"""


class RuleForm(_Form):
    """The fields of every rule, of whatever kind."""

    id: str = Field(pattern=r"^[A-Za-z0-9_]{1,64}$")
    """规则编号，规则书内唯一 / Its name, unique in the rulebook"""
    on: OnForm = OnForm()
    """适用的设备和通道 / Which devices and channels it is about"""
    kind: str = "expression"
    """规则种类 / The kind of rule"""
    for_s: Duration = Field(0, alias="for")
    """须持续多久才报警 / How long it must hold before it fires"""
    clear_for_s: Duration = Field(0, alias="clear_for")
    """须恢复多久才解除 / How long it must be over before it resolves"""
    keep_firing_s: Duration = Field(0, alias="keep_firing")
    """报警后至少保持多久 / How long it fires at least"""
    severity: Severity
    """严重程度 / Severity"""
    audience: Audience = "people"
    """通知人员，或只送复核 / Whether people are told, or it only goes to review"""
    message: MessageForm = MessageForm(zh=DEFAULT_ZH, en=DEFAULT_EN)
    """通知文字 / What people read"""
    standard: StandardForm | None = None
    """限值所依据的标准 / The standard that the limit comes from"""
    stale_after_s: Duration | None = Field(None, alias="stale_after", gt=0)
    """多久无数据即视为未知 / After how long without a reading a value is unknown"""


class ExpressionForm(RuleForm):
    """What only a rule with a condition has."""

    clear: str | None = None
    """解除条件，缺省为条件不再成立 / When it is over; when left out: as soon as it does not hold"""


@cache
def kind_class(word: str) -> type[Any]:
    """The frozen dataclass of a kind. LookupError names the nearest valid word."""
    return cast("type[Any]", from_shelf("rules.kinds", word, "KIND"))


@cache
def rule_form(word: str) -> type[RuleForm]:
    """The form of a rule of that kind. LookupError names the nearest valid kind."""
    cls = kind_class(word)
    base = ExpressionForm if word == "expression" else RuleForm
    fields: dict[str, Any] = {"kind": (Literal[word], Field(word, description="种类 / Kind"))}
    for name, (hint, info) in _kind_fields(cls).items():
        if name in base.model_fields or (info.alias or name) in _keys(base):
            raise TypeError(f"kind {word}: the field {name} has the name of one of every rule")
        fields[name] = (hint, info)
    made = create_model(f"{word}_rule", __base__=base, __doc__=cls.__doc__, **fields)
    return cast("type[RuleForm]", made)


def built_kind(word: str, form: RuleForm) -> Kind:
    """The kind with its fields as the form gives them. ValueError: it refuses them."""
    cls = kind_class(word)
    return cast(Kind, cls(**{name: getattr(form, name) for name in _kind_fields(cls)}))


def kind_keys(word: str) -> tuple[str, ...]:
    """The keys that a kind adds to those of every rule, as they are written."""
    form = rule_form(word)
    names = _kind_fields(kind_class(word))
    return tuple(form.model_fields[name].alias or name for name in names)


def _keys(form: type[BaseModel]) -> tuple[str, ...]:
    return tuple(info.alias or name for name, info in form.model_fields.items())


def _kind_fields(cls: type[Any]) -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        field.name: _form_field(field, hints[field.name])
        for field in dataclasses.fields(cls)
        if field.init
    }


def _form_field(field: dataclasses.Field[Any], hint: Any) -> tuple[Any, Any]:
    told = next((extra for extra in get_args(hint)[1:] if isinstance(extra, Told)), None)
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    description = f"{told.zh} / {told.en}" if told else None
    alias = field.name.removesuffix("_s") if _is_duration(field.name, plain) else None
    missing = field.default is dataclasses.MISSING
    default = ... if missing else field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    return _form_type(plain, alias), Field(default, alias=alias, description=description)


def _form_type(plain: Any, alias: str | None) -> Any:
    if alias is not None:
        return Duration | None if NoneType in get_args(plain) else Duration
    if plain == tuple[str, ...]:
        return Words
    bounded = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
    if plain is float:
        return bounded
    return bounded | None if plain == float | None else plain


def _is_duration(name: str, plain: Any) -> bool:
    if get_origin(plain) in (Union, UnionType):
        plain = next(part for part in get_args(plain) if part is not NoneType)
    return name.endswith("_s") and plain is int

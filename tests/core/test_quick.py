"""Laws of `quick`: an instance is what the dataclass alone would have made, and as frozen."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Generic, TypeVar

import pytest

from portero.core.quick import quick

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plain(Generic[T]):
    one: T
    two: int = 2
    three: list[int] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Quick(Generic[T]):
    one: T
    two: int = 2
    three: list[int] = field(default_factory=list)


@quick
@dataclass(frozen=True, slots=True)
class Heir(Quick[int]):
    four: str = "4"


def test_it_is_filled_as_the_dataclass_alone_would() -> None:
    """Positions, names, defaults and factories mean the same."""
    for arguments, named in (((1,), {}), ((1, 5, [6]), {}), ((1,), {"three": [7]})):
        plain, made = Plain(*arguments, **named), Quick(*arguments, **named)

        assert [getattr(plain, each.name) for each in fields(plain)] == [
            getattr(made, each.name) for each in fields(made)
        ]
        assert repr(plain).replace("Plain", "Quick") == repr(made)
    assert Quick(1).three is not Quick(1).three
    assert str(inspect.signature(Plain)).count(",") == str(inspect.signature(Quick)).count(",")


def test_it_is_of_its_class_and_frozen() -> None:
    """The mutable twin is never seen, by whichever way an instance is made."""
    for made in (Quick(1), replace(Quick(1), two=3), copy.copy(Quick(1)), Heir(1, four="f"), replace(Heir(1), two=3)):
        assert type(made) in (Quick, Heir)
        with pytest.raises(FrozenInstanceError):
            made.two = 9  # type: ignore[misc]
        with pytest.raises(FrozenInstanceError):
            del made.two  # type: ignore[misc]
        assert not hasattr(made, "__dict__")


def test_wrong_arguments_are_a_type_error_that_leaves_nothing() -> None:
    """As with any function: missing, unknown, or twice."""
    for arguments, named in (((), {}), ((1, 2, [], 4), {}), ((1,), {"five": 5}), ((1,), {"one": 1})):
        with pytest.raises(TypeError):
            Quick(*arguments, **named)  # type: ignore[arg-type]


def test_equality_and_hash_stay_the_dataclass_s_own() -> None:
    """Equal by value, and only to its own class."""
    assert Quick(1) == Quick(1)
    assert Quick(1) != Quick(2)
    assert Quick(1) != Plain(1)
    assert Heir(1) != Quick(1)


def test_what_cannot_be_filled_field_by_field_is_refused() -> None:
    """A check in `__post_init__` must never be skipped, nor a field that is computed."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        one: int

        def __post_init__(self) -> None:
            raise ValueError

    @dataclass(frozen=True, slots=True)
    class Computed:
        one: int = field(init=False, default=1)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        one: int

    for refused in (Checked, Computed, Named):
        with pytest.raises(TypeError):
            quick(refused)

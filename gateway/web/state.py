"""What handlers remember in a request or a response: a mapping, with keys that know their type."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeAlias, TypeVar, overload

T = TypeVar("T")


class StateKey(Generic[T]):
    """A key that equals only itself, so that two programs' keys never meet, whatever their name.

    t is the type of the value, for readers and type checkers; nothing checks the value itself.
    """

    __slots__ = ("_name", "_type")

    def __init__(self, name: str, t: type[T] | None = None) -> None:
        self._name = name
        self._type = t

    def __repr__(self) -> str:
        kind = self._type.__name__ if self._type is not None else "Any"
        return f"<{type(self).__name__}({self._name}, type={kind})>"


class RequestKey(StateKey[T]):
    """A key of a request's state."""

    __slots__ = ()


class ResponseKey(StateKey[T]):
    """A key of a response's state."""

    __slots__ = ()


Key: TypeAlias = str | StateKey[Any]


class Stateful(MutableMapping[Key, Any]):
    """A mapping that is true and equal to nothing but itself, whatever it holds.

    Most hold nothing: there is no dict before something is set.
    """

    __slots__ = ()

    _state: dict[Key, Any] | None

    @overload
    def __getitem__(self, key: StateKey[T]) -> T: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: Key) -> Any:
        if self._state is None:
            raise KeyError(key)
        return self._state[key]

    @overload
    def __setitem__(self, key: StateKey[T], value: T) -> None: ...

    @overload
    def __setitem__(self, key: str, value: Any) -> None: ...

    def __setitem__(self, key: Key, value: Any) -> None:
        if self._state is None:
            self._state = {}
        self._state[key] = value

    def __delitem__(self, key: Key) -> None:
        if self._state is None:
            raise KeyError(key)
        del self._state[key]

    def __len__(self) -> int:
        return len(self._state or ())

    def __iter__(self) -> Iterator[Key]:
        return iter(self._state or ())

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __bool__(self) -> bool:
        return True

"""A table of parts: names of one kind, each imported when it is first used."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property, partial
from importlib import import_module
from typing import Any, NamedTuple

from massrl.errors import ConfigError, suggest
from massrl.registry.calls import bind_arguments, bind_call, parse_call

logger = logging.getLogger("massrl")


class Row(NamedTuple):
    """One part of a table.

    Attributes:
        target: ``module:object``.
        summary: one line; empty for a part of another package, whose docstring has it.
        package: the distribution that registers it.
    """

    target: str
    summary: str = ""
    package: str = "massrl"


@cache
def all_entry_points() -> Any:
    """Return the entry points of all installed packages; finding them takes some 30 ms, once."""
    from importlib.metadata import entry_points

    return entry_points()


class _Parts(dict[str, Any]):
    """Imported parts by name; a part is imported when it is first looked up."""

    def __init__(self, load: Callable[[str], Any]):
        super().__init__()
        self._load = load

    def __missing__(self, name: str) -> Any:
        return self._load(name)


class Table(Mapping[str, Row]):
    """The parts of one kind, by name: massrl's own, then those of other packages.

    Args:
        kind: what one part is called, for errors.
        group: the entry-point group that other packages register under.
        flag: where a user asks for a part, for errors.
        rows: massrl's own parts: name -> (``module:object``, one-line summary).
        expects: ``module:Class``: each part must be a subclass or an instance of it.

    Attributes:
        parts: the parts themselves, each imported at its first look-up as by ``load``; as fast as a
            dictionary from then on.
    """

    def __init__(
        self,
        kind: str,
        *,
        group: str,
        flag: str,
        rows: dict[str, tuple[str, str]],
        expects: str | None = None,
    ) -> None:
        self.kind = kind
        self._expects = expects
        self.group = group
        self.flag = flag
        self._own = {name: Row(*row) for name, row in rows.items()}
        self.parts: dict[str, Any] = _Parts(self.load)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        rows = dict(self._own)
        for entry in all_entry_points().select(group=self.group):
            package = entry.dist.name if entry.dist is not None else "unknown"
            if entry.name in rows:
                logger.warning(
                    "%s %r of package %s is ignored: %s has one of this name",
                    self.kind,
                    entry.name,
                    package,
                    rows[entry.name].package,
                )
            else:
                rows[entry.name] = Row(entry.value, package=package)
        return rows

    def __getitem__(self, name: str) -> Row:
        return self._own.get(name) or self._rows[name]  # massrl's own need no look at the packages

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def load(self, name: str, *, flag: str | None = None) -> Any:
        """Import a part.

        Args:
            name: of the part.
            flag: where the user asked for it, for errors; the table's own by default.

        Raises:
            ConfigError: if there is none of this name, or its package cannot be imported.
        """
        if name in self.parts:
            return self.parts[name]
        if name not in self:
            raise ConfigError(
                f"unknown {self.kind} {name!r}: {suggest(name, self)} ({flag or self.flag})"
            )
        target, _, package = self[name]
        module, _, attribute = target.partition(":")
        try:
            part = getattr(import_module(module), attribute)
        except Exception as error:  # importing runs the package's code: it raises whatever it likes
            if package == "massrl":
                raise
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"{self.kind} {name!r} of package {package} cannot be loaded: {cause}"
            ) from None
        if package != "massrl":
            self._check_type(name, part)
        self.parts[name] = part
        return part

    def _check_type(self, name: str, part: Any) -> None:
        if self._expects is None:
            return
        module, _, attribute = self._expects.partition(":")
        expected = getattr(import_module(module), attribute)
        if not isinstance(part, expected) and not (
            isinstance(part, type) and issubclass(part, expected)
        ):
            raise ConfigError(
                f"{self.kind} {name!r} of package {self[name].package} is no "
                f"{module}.{attribute} ({self.flag})"
            )

    def load_call(self, text: str, *, flag: str | None = None) -> Any:
        """Import the part that ``name(argument, key=value)`` names; the arguments are not used."""
        return self.load(parse_call(text, flag=flag or self.flag).name, flag=flag)

    def build(self, text: str, *first: Any, flag: str | None = None) -> Any:
        """Call the part that ``name(argument, key=value)`` asks for with those arguments.

        Args:
            text: what the user wrote.
            first: arguments of the caller that stand before the user's.
            flag: where the user asked for it, for errors; the table's own by default.

        Raises:
            ConfigError: for an unknown name, or arguments that do not fit.
        """
        call = parse_call(text, flag=flag or self.flag)
        part = self.load(call.name, flag=flag)
        return bind_call(call, partial(part, *first) if first else part, flag=flag or self.flag)

    def check(self, text: str, *first: Any) -> None:
        """Check that ``build`` with the same arguments could call the part; nothing is called.

        Raises:
            ConfigError: as ``build``.
        """
        call = parse_call(text, flag=self.flag)
        bind_arguments(call, partial(self.load(call.name), *first), flag=self.flag)

    def summary(self, name: str) -> str:
        """One line about a part: of another package's, its ``summary``, or its docstring's first line.

        Empty where the part has neither; the docstring of a class that it only inherits from, or is an
        instance of, says nothing about it.
        """
        row = self[name]
        if row.summary:
            return row.summary
        part = self.load(name)
        described = getattr(part, "summary", None)
        if isinstance(described, str) and described:
            return described
        owner = part if inspect.isroutine(part) or isinstance(part, type) else type(part)
        package = row.target.partition(":")[0].partition(".")[0]
        own = owner.__module__.partition(".")[0] == package
        return inspect.cleandoc(owner.__doc__ or "").partition("\n")[0] if own else ""

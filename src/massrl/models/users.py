"""Backbones of the user's own: ``module:function``, imported and called; errors name the user's line."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from massrl.errors import ConfigError, MassrlError, suggest
from massrl.models.features import cause_of


def users_backbone(name: str) -> nn.Module:
    """Import the module of ``module:function`` and call the function without arguments.

    Modules in the current folder are found, where console scripts, unlike ``python -m``, do not look.

    Args:
        name: ``module:function``; a class is called likewise.

    Raises:
        ConfigError: if it cannot be imported or called, or returns no ``torch.nn.Module``; with the
            user's file and line.
    """
    module_name, _, function_name = name.partition(":")
    with _current_folder_importable():
        module = _import(name, module_name)
        function: Any = getattr(module, function_name, None)
        if not callable(function):
            hint = suggest(function_name, (key for key in vars(module) if key[0] != "_"))
            raise ConfigError(
                f"backbone {name!r}: {module_name!r} has no function {function_name!r}: {hint} "
                "(--model.backbone)"
            )
        _check_takes_no_arguments(name, function)
        with naming_the_line(name, "cannot be built"):
            model = function()
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"backbone {name!r} returned a {type(model).__name__}, but a torch.nn.Module is wanted "
            "(--model.backbone)"
        )
    return model


@contextmanager
def naming_the_line(name: str, fault: str, flags: str = "--model.backbone") -> Iterator[None]:
    """Turn whatever a backbone raises into a ``ConfigError`` of one line with the user's file and line.

    Args:
        name: of the backbone.
        fault: what cannot be done with it, such as ``cannot be built``.
        flags: that the user can change.
    """
    try:
        yield
    except MassrlError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"backbone {name!r} {fault}: {cause_of(error, name)} ({flags})"
        ) from error


def _import(name: str, module_name: str) -> ModuleType:
    is_file = module_name.endswith(".py") or not all(
        part.isidentifier() for part in module_name.split(".")
    )
    if is_file:
        raise ConfigError(
            f"backbone {name!r}: {module_name!r} is no module's name: for a file mine.py in the current "
            "folder it is mine:function (--model.backbone)"
        )
    try:
        with naming_the_line(name, "cannot be imported"):
            return importlib.import_module(module_name)
    except ConfigError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(
            f"{missing}."
        ):  # not one that it imports itself
            raise ConfigError(
                f"backbone {name!r}: cannot import {module_name!r}: {cause}; a module that is installed "
                "or in the current folder is wanted (--model.backbone)"
            ) from cause
        raise


def _check_takes_no_arguments(name: str, function: Any) -> None:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # of a function in C
        return
    try:
        signature.bind()
    except TypeError:
        parameters = signature.parameters.values()
        needed = [item.name for item in parameters if item.default is inspect.Parameter.empty]
        code = getattr(inspect.unwrap(function), "__code__", None)
        where = f", {Path(code.co_filename).name}, line {code.co_firstlineno}" if code else ""
        raise ConfigError(
            f"backbone {name!r} is called without arguments, but needs {', '.join(needed)}: give each a "
            f"default{where} (--model.backbone)"
        ) from None


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the user's module may have changed the list
            sys.path.remove(folder)

"""Policies by name, from ``massrl.registry.POLICIES``, or by the path of a YAML file.

``parse_policy("randaugment(2,9)")`` gives a policy. Another package adds its own by an entry point of
the group ``massrl.policies`` that names a function, or a class, whose result draws steps::

    def my_policy(strength: float = 1.0) -> Policy: ...
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Literal, get_args, get_origin

from massrl.config.checks import is_policy_file
from massrl.errors import ConfigError, suggest
from massrl.registry import POLICIES
from massrl.registry.calls import bind_call, parse_call
from massrl.views.policies.base import Policy
from massrl.views.policies.files import read_policy_file


def parse_policy(text: str) -> Policy:
    """Build a policy from its name or its file.

    Args:
        text: a name, a name with arguments, or the path of a YAML file.

    Raises:
        ConfigError: for an unknown name, arguments that do not fit, or a file that is no policy.
    """
    flag = POLICIES.flag
    if is_policy_file(text):
        return read_policy_file(Path(text))
    call = parse_call(text, flag=flag)
    if call.name not in POLICIES:
        known = suggest(call.name, POLICIES)
        raise ConfigError(f"unknown policy {call.name!r}: {known} or a .yaml file ({flag})")
    policy = bind_call(call, POLICIES.load(call.name), flag=flag)
    if not isinstance(policy, Policy):
        raise ConfigError(f"{call.name} draws no steps: it is a {type(policy).__name__} ({flag})")
    return policy


def short_name(policy: str) -> str:
    """Return a short name of a policy: the name itself, or a file's without folder and ending."""
    return Path(policy).stem if is_policy_file(policy) else policy


def policy_signature(name: str) -> str:
    """Return a policy's name, and its arguments with their defaults or choices.

    Example:
        >>> policy_signature("randaugment")
        'randaugment(n=2, m=9)'
    """
    parameters = inspect.signature(POLICIES.load(name), eval_str=True).parameters.values()
    arguments = ", ".join(map(_argument, parameters))
    return f"{name}({arguments})" if arguments else name


def _argument(parameter: inspect.Parameter) -> str:
    if get_origin(parameter.annotation) is Literal:
        return "|".join(map(str, get_args(parameter.annotation)))
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    number = isinstance(parameter.default, float)
    return f"{parameter.name}={parameter.default:{'g' if number else ''}}"

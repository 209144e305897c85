"""Where the processes of a run meet: on loopback alone, unless several machines take part."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from uuid import uuid4

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from massrl.distributed import World
from massrl.errors import ConfigError

LOOPBACK = "127.0.0.1"
"""The address that no other machine reaches."""


def meeting_point(world: World, *, timeout: timedelta) -> Store:
    """Return the store at ``MASTER_PORT``: on one machine it listens on loopback alone.

    With several machines it is torch's own, and so it is where torchrun's agent has opened it already.

    Raises:
        ConfigError: if the port of a launcher is in use.
    """
    if world.nodes > 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        store: Store = next(rendezvous("env://", world.rank, world.size, timeout=timeout))[0]
        return store
    port = int(os.environ["MASTER_PORT"])
    listener = _listener(port) if world.is_main else None
    return TCPStore(
        LOOPBACK, port, world.size, world.is_main, timeout=timeout, master_listen_fd=listener
    )


def _listener(port: int) -> int:
    """Return a socket bound to loopback; torch's own would listen on every address of the machine."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((LOOPBACK, port))
        except OSError as error:
            raise ConfigError(
                f"MASTER_PORT is {port}, which cannot be opened ({error.strerror}): set it to a free port"
            ) from None
        return bound.detach()


def loopback_variables(world: World) -> dict[str, str]:
    """Return variables with which Gloo and NCCL listen on loopback alone; none with several machines.

    Those that the user has set stay.
    """
    if world.nodes > 1 or not hasattr(socket, "if_nameindex"):
        return {}
    interfaces = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in ("lo", "lo0") if name in interfaces), None)
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    return {name: loopback for name in names if loopback and not os.environ.get(name)}


def fresh_store(store: Store, world: World) -> Store:
    """Return a prefix of the store that no earlier attempt of this run has written to.

    torchrun keeps one store over its restarts, which still holds the addresses of dead processes. Each
    process therefore sends a unique token, to which only a live main process can reply.
    """
    if not world.is_main:
        token = uuid4().hex
        store.set(f"massrl/request/{world.rank}", token)
        attempt = store.get(f"massrl/reply/{token}").decode()
        store.set(f"massrl/{attempt}/{world.rank}", "connected")
        return PrefixStore(f"massrl/{attempt}", store)
    attempt, answered = uuid4().hex, set[str]()
    others = range(1, world.size)
    while not all(store.check([f"massrl/{attempt}/{rank}"]) for rank in others):
        for key in (f"massrl/request/{rank}" for rank in others):
            token = store.get(key).decode() if store.check([key]) else ""
            if token and token not in answered:
                store.set(f"massrl/reply/{token}", attempt)
                answered.add(token)
        time.sleep(0.02)
    return PrefixStore(f"massrl/{attempt}", store)

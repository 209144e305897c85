"""Where processes meet: the address, the interface, and a restart's own part of the store."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import torch.distributed as dist

from massrl.distributed import World
from massrl.errors import ConfigError
from massrl.train.rendezvous import fresh_store, loopback_variables, meeting_point

SOON = timedelta(seconds=20)


def test_port_in_use_is_refused_with_the_variable_that_sets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards two jobs on one machine with the same port, such as torch's own example."""
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(ConfigError, match=f"MASTER_PORT is {port}, .*in use.* free port"):
            meeting_point(World(size=2, local_size=2), timeout=SOON)


@pytest.mark.skipif(os.name != "posix", reason="names of interfaces differ")
def test_interface_is_loopback_on_one_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards several machines, which must reach each other, and a user's own choice of interface."""
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    here = loopback_variables(World(size=2, local_size=2))
    assert set(here) == {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
    assert set(here.values()) <= {"lo", "lo0"}
    assert loopback_variables(World(size=2, local_size=1)) == {}
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth7")
    assert set(loopback_variables(World(size=2, local_size=2))) == {"GLOO_SOCKET_IFNAME"}


def test_processes_of_a_restart_share_a_fresh_part_of_the_store() -> None:
    """Guards restarts: torchrun keeps its store, and with it the addresses of dead processes."""
    store = dist.HashStore()
    for attempt in range(3):
        parts: dict[int, Any] = {}

        def join(rank: int, parts: dict[int, Any] = parts) -> None:
            parts[rank] = fresh_store(store, World(rank=rank, size=3))

        # The main process starts first, and finds what the others of the last attempt have written.
        threads = [Thread(target=join, args=(rank,)) for rank in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join(20)
        assert len(parts) == 3
        assert not parts[0].check(["address"])
        parts[1].set("address", str(attempt))
        assert {part.get("address").decode() for part in parts.values()} == {str(attempt)}

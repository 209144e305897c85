"""Charts and the list of policies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from massrl.cli import main
from massrl.commands.policies import draw_policy
from massrl.errors import ConfigError
from massrl.registry import LAYOUTS, POLICIES
from massrl.views.policies.catalogue import policy_signature


def test_policy_is_drawn_into_a_picture(tmp_path: Path) -> None:
    """Guards ``massrl policies NAME``, with an image of one's own and without."""
    cv2.imwrite(str(tmp_path / "mine.png"), np.full((90, 60, 3), 40, np.uint8))
    for image in ("", str(tmp_path / "mine.png")):
        out = draw_policy(
            {"policy": "simclr", "image": image, "size": 48, "out": str(tmp_path / "a" / "b.png")}
        )
        assert cv2.imread(str(out)).shape[1] > 500
    with pytest.raises(ConfigError, match="unknown policy"):
        draw_policy({"policy": "nosuch"})


def test_list_has_every_policy_and_layout_with_its_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the list: a policy that cannot be found is not used."""
    assert main(["policies"]) == 0
    out = capsys.readouterr().out
    for name in POLICIES:
        assert f"\n  {policy_signature(name)} " in out
        assert POLICIES.summary(name) in out
    for name in LAYOUTS:
        assert f"\n  {name} " in out
        assert LAYOUTS.summary(name) in out


def test_command_prints_the_path_of_the_chart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the flags of ``massrl policies NAME``."""
    out = tmp_path / "chart.png"
    assert main(["policies", "randaugment(2,9)", "--size=32", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert cv2.imread(str(out)) is not None

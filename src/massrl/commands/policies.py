"""``massrl policies``: list the policies and layouts, or draw one policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massrl.commands.arguments import first
from massrl.config.checks import in_range, raise_faults
from massrl.config.parser import make
from massrl.errors import ConfigError
from massrl.registry import LAYOUTS, POLICIES


@dataclass(frozen=True, kw_only=True)
class PolicyChartConfig:
    """A chart of a policy, operation by operation."""

    policy: str = ""
    """The policy, as `--views.policies` takes it."""
    image: str = ""
    """Image to apply it to; a rendered scene by default."""
    out: str = "policy.png"
    """Picture to write."""
    size: int = 224
    """Side of a view, pixels."""
    fill: int = 0
    """Grey level, 0-255, of pixels that a rotation, shear or translation brings in from outside."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.size, "--size", low=8),
            in_range(self.fill, "--fill", low=0, high=255),
        )


def draw_policy(config: PolicyChartConfig | dict[str, Any]) -> Path:
    """Draw each operation of a policy over the range of its parameter, on one image.

    Args:
        config: policy, image and output file.

    Returns:
        The path of the picture.

    Raises:
        ConfigError: if the policy is unknown or has no operations.
    """
    from massrl.data.sources.shapes import ShapesSource
    from massrl.files import check_outputs
    from massrl.images.decode import decode
    from massrl.images.pictures import save_picture
    from massrl.views.cpu import resize_crop
    from massrl.views.crops import Box
    from massrl.views.drawing.policy_chart import draw_policy_chart, operation_ranges
    from massrl.views.policies.base import MagnitudePolicy
    from massrl.views.policies.catalogue import parse_policy
    from massrl.views.view_maker import ViewMaker

    wanted = config if isinstance(config, PolicyChartConfig) else make(PolicyChartConfig, config)
    policy = parse_policy(wanted.policy)
    out = Path(wanted.out).expanduser()
    check_outputs(
        {out: "policies"}, inputs=[wanted.image, wanted.policy], overwrite=wanted.overwrite
    )
    if wanted.image:
        image = ViewMaker.load(wanted.image)
    else:
        image = decode(ShapesSource(1, wanted.size, seed=2, objects=3, split="train").read(0))
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = resize_crop(image, Box(top, left, side, side), wanted.size)
    found = operation_ranges(policy, side=wanted.size)
    if not found:
        raise ConfigError(f"{wanted.policy} has no operations: it only crops and flips")
    title = wanted.policy
    if isinstance(policy, MagnitudePolicy):
        largest = len(policy.at_every_magnitude()) - 1
        title += f": every magnitude from 0 to {largest}, of which this draws {policy.magnitude}"
    chart = draw_policy_chart(square, found, title=title, fill=wanted.fill)
    save_picture(chart, out, command="policies")
    return out


def run_policies(words: list[str]) -> int:
    """Run ``massrl policies`` and return the exit code."""
    if words:
        policy = first(words, "the policy to draw")
        print(draw_policy(make(PolicyChartConfig, {"policy": policy}, arguments=words)))
        return 0
    from massrl.views.policies.catalogue import policy_signature

    policies = {policy_signature(name): POLICIES.summary(name) for name in POLICIES}
    layouts = {name: LAYOUTS.summary(name) for name in LAYOUTS}
    width = max(map(len, [*policies, *layouts]))
    print("policies (--views.policies takes any number of them, or a .yaml file of your own)")
    for name, summary in policies.items():
        print(f"  {name:<{width}}  {summary}")
    print("\nlayouts (--views.layout)")
    for name, summary in layouts.items():
        print(f"  {name:<{width}}  {summary}")
    return 0

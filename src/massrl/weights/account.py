"""What was found in another project's file, and the account of it for the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from massrl.errors import counted
from massrl.weights.key_names import Naming
from massrl.weights.origins import Origin


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backbone found in a file.

    Attributes:
        prefix: of its keys, such as ``backbone.``; may be empty.
        backbone: name of the network.
        stem: ``standard`` or ``small``.
        image_side: side of the images that it is built for, pixels.
        keys: the network's own keys -> keys in the file.
        naming: the names under which it was found.
    """

    prefix: str
    backbone: str
    stem: str
    image_side: int
    keys: Mapping[str, str]
    naming: Naming

    @property
    def name(self) -> str:
        """The prefix as ``--model.part`` takes it; ``.`` for none."""
        return self.prefix.rstrip("./") or "."


@dataclass(frozen=True, kw_only=True)
class ImportedBackbone:
    """A backbone extracted from a file, and what was not extracted.

    Attributes:
        part: where it was found.
        state: the network's complete ``state_dict``, float32.
        others: further backbones in the file.
        unused: key prefix -> (number of tensors, number of values) that were not extracted.
        missing_counters: keys of batch-norm counters that the file lacks; set to 0.
        origin: the project that the file is of.
    """

    part: Part
    state: dict[str, Tensor]
    others: tuple[Part, ...]
    unused: dict[str, tuple[int, int]]
    missing_counters: tuple[str, ...]
    origin: Origin

    def lines(self) -> list[str]:
        """Return the account for the user, line by line."""
        count = sum(item.numel() for item in self.state.values())
        rows = [
            f"imported  {self.part.name}: {self.part.backbone}, {self.part.stem} stem, "
            f"{counted(len(self.state), 'tensor')}, {count:,} values",
            f"origin    {self.origin.name or 'of no known project'}: {self._taken()}",
        ]
        if self.missing_counters:
            rows.append(
                f"          {len(self.missing_counters)} batch-norm counters, which the file lacks, "
                "are set to 0"
            )
        rows += [
            f"unused    {name}: {counted(tensors, 'tensor')}, {values:,} values"
            for name, (tensors, values) in self.unused.items()
        ]
        rows += [
            f"other     --model.part {part.name} is a backbone too{self._role(part)}"
            for part in self.others
        ]
        return rows

    def _taken(self) -> str:
        if self.origin.is_teacher(self.part.prefix):
            return "the teacher, a moving average of the trained network, is taken"
        if any(self.origin.is_teacher(part.prefix) for part in self.others):
            return "the student, which is trained, is taken, and not its moving average"
        return "it has no moving average of this network"

    def _role(self, part: Part) -> str:
        if self.origin.is_teacher(part.prefix):
            return ", the teacher"
        return ", the student" if self.origin.is_student(part.prefix) else ""

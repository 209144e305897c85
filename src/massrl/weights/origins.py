"""The projects whose checkpoints are known by the names in them, and what their weights do not tell.

A file of no known project is read too: a network is wherever all of its tensors are. The table says which
of two networks, the trained one or its moving average, the project itself evaluates, and how its networks
differ from others with tensors of the same shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from massrl.weights.key_names import WRAPPERS

_START = r"(?:^|[./])"
_TOP = r"^(?:state_dict|model)?$"
# Words in the prefix of a moving-average copy of the trained network.
_AVERAGED = re.compile(r"momentum|encoder_k|target|teacher|ema")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A project, or a family of projects with the same keys.

    Attributes:
        name: of the project.
        marks: patterns, each found in a key of its files; in keys without wrappers such as ``module.``.
        student: pattern of the prefix, without its last dot, of the network that is trained.
        teacher: likewise of its moving average; empty where there is none.
        takes_teacher: whether the project itself evaluates the teacher.
        small_stem: the stem of its ResNets that begin with a 3×3 convolution, ``None`` if that differs.
        vit: timm's name of its ViTs, by ``size``, ``patch`` and ``reg`` (``_reg4`` or nothing).
        other_heads: sizes of ViTs that have another number of heads than timm's.
    """

    name: str
    marks: tuple[str, ...]
    student: str
    teacher: str = ""
    takes_teacher: bool = False
    small_stem: str | None = None
    vit: str = ""
    other_heads: tuple[str, ...] = ()

    def is_student(self, prefix: str) -> bool:
        """Return whether a network under this prefix is the one that is trained."""
        return _matches(self.student, prefix)

    def is_teacher(self, prefix: str) -> bool:
        """Return whether a network under this prefix is a moving average."""
        if self.teacher:
            return _matches(self.teacher, prefix)
        return not self.is_student(prefix) and bool(_AVERAGED.search(prefix.lower()))


ORIGINS = (
    Origin(
        name="DINOv2",
        marks=(_START + r"teacher[./]backbone\.", r"dino_head\."),
        student=_START + r"student[./]backbone$",
        teacher=_START + r"teacher[./]backbone$",
        takes_teacher=True,
        vit="vit_{size}_patch{patch}{reg}_dinov2",
    ),
    Origin(
        name="DINOv2",
        marks=(_START + r"mask_token$", r"blocks\..*ls1\.gamma$"),
        student="",
        vit="vit_{size}_patch{patch}{reg}_dinov2",
    ),
    Origin(
        name="DINO",
        marks=(r"^teacher/", r"^student/"),
        student=r"^student/",
        teacher=r"^teacher/",
        takes_teacher=True,
        vit="vit_{size}_patch{patch}_224",
    ),
    Origin(
        name="lightly's DINO",
        marks=(r"student_backbone\.", _START + r"(?:teacher_)?backbone\."),
        student=r"student_backbone",
        teacher=_START + r"(?:teacher_)?backbone$",
        takes_teacher=True,
    ),
    Origin(
        name="VISSL",
        marks=(r"trunk[./]_feature_blocks\.",),
        student=r"(?:^|base_model/model/)trunk[./]_feature_blocks$",
    ),
    Origin(
        name="MoCo v3",
        marks=(r"base_encoder\.", r"momentum_encoder\."),
        student=r"base_encoder$",
        teacher=r"momentum_encoder$",
        vit="vit_{size}_patch{patch}_224",
        other_heads=("small",),
    ),
    Origin(
        name="mmselfsup",
        marks=(r"(?:encoder_q|online_net|target_net)\.0\.(?:conv1|layer1)\.",),
        student=r"(?:encoder_q|online_net)\.0$",
        teacher=r"(?:encoder_k|target_net)\.0$",
    ),
    Origin(
        name="mmselfsup",
        marks=(_START + r"backbone\.", _START + r"(?:neck|target_net|encoder_k)\."),
        student=_START + r"backbone$",
        teacher=r"(?:encoder_k|target_net)\.0$",
    ),
    Origin(
        name="MoCo",
        marks=(r"encoder_q\.", r"encoder_k\."),
        student=r"encoder_q$",
        teacher=r"encoder_k$",
    ),
    Origin(
        name="SwAV",
        marks=(_START + r"prototypes\.", _START + r"projection_head\.", _START + r"layer1\."),
        student=_TOP,
    ),
    Origin(
        name="Barlow Twins",
        marks=(r"^model/backbone\.", r"^model/projector\.", r"^model/bn\.running_mean$"),
        student=r"^model/backbone$",
    ),
    Origin(
        name="VICReg",
        marks=(r"^model/backbone\.", r"^model/projector\."),
        student=r"^model/backbone$",
    ),
    Origin(
        name="BYOL in PyTorch",
        marks=(_START + r"online_encoder\.net\.",),
        student=_START + r"(?:online_encoder\.)?net$",
        teacher=r"target_encoder\.net$",
    ),
    Origin(
        name="BYOL in PyTorch",
        marks=(r"^online_network_state_dict/", r"^target_network_state_dict/"),
        student=r"^online_network_state_dict/",
        teacher=r"^target_network_state_dict/",
    ),
    Origin(
        name="SimSiam",
        marks=(_START + r"encoder\.fc\.", _START + r"predictor\."),
        student=_START + r"encoder$",
    ),
    Origin(
        name="solo-learn",
        marks=(
            _START + r"(?:backbone|encoder)\.",
            _START + r"(?:momentum_(?:backbone|encoder|projector)\.|classifier\.weight$)",
            _START + r"(?:momentum_\w+|projector|prototypes|predictor)\b",
        ),
        student=_START + r"(?:backbone|encoder)$",
        teacher=_START + r"momentum_(?:backbone|encoder)$",
        small_stem="small-pad2",
    ),
    Origin(
        name="lightly",
        marks=(
            _START + r"backbone(?:_momentum)?\.",
            r"(?:projection|prediction)_head(?:_momentum)?\.",
        ),
        student=_START + r"backbone$",
        teacher=_START + r"backbone_momentum$",
    ),
    Origin(
        name="SimCLR in PyTorch",
        marks=(_START + r"f\.0\.weight$", _START + r"g\.0\.weight$"),
        student=_START + r"f$",
        small_stem="small",
    ),
)
"""The first one whose marks are all found counts, so that those with more marks come first."""

UNKNOWN = Origin(name="", marks=(), student=r"(?!)")


def origin_of(keys: Iterable[str]) -> Origin:
    """Return the project that a file with these keys is of, ``UNKNOWN`` for any other."""
    plain = [re.sub(WRAPPERS, "", key) for key in keys]
    for origin in ORIGINS:
        if all(any(re.search(mark, key) for key in plain) for mark in origin.marks):
            return origin
    return UNKNOWN


def _matches(pattern: str, prefix: str) -> bool:
    return bool(re.search(pattern, re.sub(WRAPPERS, "", prefix).rstrip("./")))

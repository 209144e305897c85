"""What the user can say of a checkpoint of another project, where its weights alone do not tell."""

from __future__ import annotations

from dataclasses import dataclass, fields

from massrl.config.checks import in_range, raise_faults
from massrl.config.choices import STEMS
from massrl.config.fields import field_faults, option

LABELS = {"used": "they were", "not-used": "they were not"}
_STEMS = {name: meaning for name, meaning in STEMS.items() if name != "auto"}


@dataclass(frozen=True, kw_only=True)
class ForeignConfig:
    """A checkpoint of another project: its network, and how its images are prepared."""

    backbone: str | None = None
    """Its network: any timm name, or `module:function` of your own; found by names and shapes of the
    tensors among torchvision's ResNets and the ViTs of known projects when left out."""
    stem: str | None = option(None, choices=_STEMS)
    """First layers of a ResNet; found likewise, but asked for where more than one fits."""
    part: str | None = None
    """Key prefix of the network to take, where the file has several."""
    size: int | None = None
    """Side of the images that it is for, pixels; 224, or 32 with a small stem, when left out."""
    mean: tuple[float, float, float] | None = None
    """Channel means its images are normalised by, in [0, 1]; ImageNet's when left out."""
    std: tuple[float, float, float] | None = None
    """Channel standard deviations, likewise."""

    labels: str | None = option(None, choices=LABELS)
    """Whether labels were used to train it, for the model card; not known when left out."""
    licence: str | None = None
    """Its licence, for the model card: it goes along with every network that is trained from it."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--model."),
            in_range(self.size, "--model.size", low=1),
            *(in_range(value, "--model.std", low=1e-6) for value in self.std or ()),
        )

    def given(self) -> list[str]:
        """Return the flags that were set."""
        return [f"--model.{item.name}" for item in fields(self) if getattr(self, item.name)]

"""Files of a run folder: configuration, backbone, ``data.json``, and a policy of one's own."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import yaml

from massrl.commands.views import draw_views
from massrl.config.files import load_config
from massrl.data.catalogue import open_source
from massrl.runs.folder import RunFolder
from massrl.train.checkpoint import restore_point
from massrl.views.policies.files import read_policy_file
from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import load_backbone, random_backbone
from tests.conftest import ABOUT
from tests.fuzz import case
from tests.fuzz.mutation import mutated_bytes, mutated_json, mutated_tree
from tests.fuzz.shards import mutated_index, small_photos

FIXTURES = Path(__file__).parents[1] / "fixtures" / "version-0.1.0"


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run_folder = folder / "run"
        shutil.copytree(FIXTURES / "byol-stopped", self.run_folder)
        self.policy = self.run_folder / "mine.yaml"
        shutil.copy(FIXTURES / "configs" / "policies" / "1-mine.yaml", self.policy)
        save_backbone(
            self.run_folder / "backbone.safetensors",
            random_backbone(ABOUT).state_dict(),
            about=ABOUT,
        )
        names = ("config.yaml", "backbone.safetensors", "data.json", "mine.yaml")
        self.files = {name: (self.run_folder / name).read_bytes() for name in names}
        self.photos = small_photos(folder / "photos", "a", count=1)
        self.source = open_source("shapes(count=64,size=32)")
        for name in ("timm", "torchvision"):  # which a name of a backbone may import
            importlib.import_module(name)
        for name in names:
            self._use(name)

    def run(self, generator: np.random.Generator) -> None:
        """Damage one file, and use it."""
        name = str(generator.choice(list(self.files)))
        (self.run_folder / name).write_bytes(damaged(name, self.files[name], generator))
        try:
            self._use(name)
        finally:
            (self.run_folder / name).write_bytes(self.files[name])

    def _use(self, name: str) -> None:
        folder = RunFolder(self.run_folder)
        match name:
            case "config.yaml":
                load_config(folder.config)
            case "backbone.safetensors":
                load_backbone(folder.backbone)
            case "data.json":
                restore_point(folder, self.source)
            case _:
                read_policy_file(self.policy)
                views = {"policies": [str(self.policy)], "layout": "simclr"}
                out = str(self.folder / "x.png")
                draw_views({"images": str(self.photos), "out": out, "views": views})


def damaged(name: str, data: bytes, generator: np.random.Generator) -> bytes:
    """Return a file's content with damage of its kind."""
    match name.rpartition(".")[2]:
        case "json":
            return mutated_json(data.decode(), generator)
        case "yaml" if generator.integers(0, 3):
            return yaml.safe_dump(mutated_tree(yaml.safe_load(data), generator)).encode()
        case "safetensors" if generator.integers(0, 3):
            return mutated_index(data, generator)
        case _:
            return mutated_bytes(data, generator)

"""Torchvision without torch's compiler, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOAD = "import sys, torch; from massrl.models.torchvision_import import import_torchvision\n"


FRESH = """
import_torchvision()
assert 'torchvision.ops.roi_align' in sys.modules
assert not [name for name in sys.modules if name.startswith('torch._dynamo')]

from torchvision.ops import roi_align
from torchvision.ops.roi_align import is_compile_supported
answer = is_compile_supported('cpu')
from torch._dynamo import utils
assert utils is sys.modules['torch._dynamo.utils'] and utils.__file__
assert answer == utils.is_compile_supported('cpu')
boxes = [torch.tensor([[0., 0., 2., 2.]])]
assert roi_align(torch.ones(1, 1, 4, 4), boxes, 2).eq(1).all()
assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)) == 2
"""
LOADED_BEFORE = """
import torch._dynamo.utils as before
import_torchvision()
assert sys.modules['torch._dynamo.utils'] is before
import torchvision
import_torchvision()
assert sys.modules['torch._dynamo.utils'] is before
"""
OTHER_VERSION = """
import massrl.models.torchvision_import as own
sys.modules['torch._dynamo.utils'] = own._LoadedLater('torch._dynamo.utils')
from torch._dynamo.utils import counters
assert type(counters).__name__ == 'defaultdict'
assert sys.modules['torch._dynamo.utils'].__file__
"""


@pytest.mark.parametrize(
    "code", [FRESH, LOADED_BEFORE, OTHER_VERSION], ids=["fresh", "loaded before", "other version"]
)
def test_compiler_is_loaded_at_its_first_use_and_is_the_real_one(code: str) -> None:
    """Guards start-up seconds, and everyone who compiles, or detects objects, afterwards.

    The same kind: a compiler that is loaded already stays as it is; a torchvision that takes other names
    from the compiler gets them.
    """
    subprocess.run([sys.executable, "-c", LOAD + code], check=True, timeout=300)

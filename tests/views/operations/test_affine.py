"""Affine maps, against NumPy's matrices."""

from __future__ import annotations

import numpy as np
import pytest

from massrl.views.operations.affine import Affine, mirror


def matrix(map_: Affine) -> np.ndarray:
    return np.vstack([np.reshape(map_, (2, 3)), [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("place", [(0.0, 0.0), (3.0, -7.0), (95.5, 20.25)])
def test_map_after_another_is_the_product_of_their_matrices(place: tuple[float, float]) -> None:
    """Guards the six sums of products, beside NumPy's: a swapped pair shows in a turn of a shear."""
    first, second = Affine(0.9, 0.3, -4.0, -0.2, 1.1, 2.5), Affine(-1.0, 0.5, 96.0, 0.25, 0.8, -3.0)
    wanted = matrix(second) @ matrix(first)
    assert np.allclose(matrix(second.after(first)), wanted)
    x, y = place
    through = matrix(second) @ (matrix(first) @ [x, y, 1.0])
    assert np.allclose(matrix(second.after(first)) @ [x, y, 1.0], through)


def test_mirror_exchanges_the_edges_and_twice_is_no_change() -> None:
    """Guards pixel edges: mirrored about a pixel's centre, an image would shift by one pixel."""
    flipped = matrix(mirror(64))
    assert (flipped @ [0.0, 5.0, 1.0]).tolist() == [64.0, 5.0, 1.0]
    assert (flipped @ [64.0, 5.0, 1.0]).tolist() == [0.0, 5.0, 1.0]
    assert np.allclose(matrix(mirror(64).after(mirror(64))), np.eye(3))

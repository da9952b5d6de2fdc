"""The index path draws what Python's own generator would, so a seed gives the same prices as ever."""

import itertools
from random import Random

from services.sandbox.prices import normals


def test_normals_are_what_the_generator_itself_draws_whatever_is_drawn_between() -> None:
    ours, own = Random("a path"), Random("a path")
    drawn = normals(ours)
    for turn, normal in enumerate(itertools.islice(drawn, 1000)):
        assert normal == own.gauss(0.0, 1.0)
        if turn % 3 == 0:
            assert ours.random() == own.random()

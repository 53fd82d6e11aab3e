from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.models.wire import HEAD, LARGEST, Answers, decode, encode, length


def result(rng, n, given):
    shapes = {"forces": (n, 3), "stress": (3, 3), "magmoms": (n,)}
    return {"energy": float(rng.normal()), **{name: rng.normal(size=shapes[name]) for name in given}}


@st.composite
def answers(draw):
    """Results of some structures, some failed, each with some of the optional quantities; and as ``Answers``."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    results = [
        "ValueError: zu nah: 1 Å"
        if draw(st.booleans())
        else result(rng, n, draw(st.sets(st.sampled_from(["forces", "stress", "magmoms"]))))
        for n in sizes
    ]
    return results, Answers.of(results, sizes)


def spelled(found):
    """Each structure's answer by itself."""
    out = []
    for index in range(len(found)):
        one = found.between(index, index + 1)
        values = {name: one.values[name].tolist() for name in one.given if one.given[name][0]}
        out.append(one.errors[0] if one.errors else {"energy": float(one.energy[0]), **values})
    return out


def expected(results):
    shape = {"stress": (1, 3, 3)}
    return [
        item
        if isinstance(item, str)
        else {
            name: value if name == "energy" else value.reshape(shape.get(name, value.shape)).tolist()
            for name, value in item.items()
        }
        for item in results
    ]


@given(answers())
def test_answers_keep_every_bit_on_their_way(pair):
    results, made = pair
    found = Answers.read(*decode(encode(*made.message())))
    assert spelled(found) == expected(results)


@given(answers(), answers())
def test_joining_and_cutting_are_inverse(first, second):
    joined = Answers.joined([first[1], second[1]])
    assert spelled(joined) == expected(first[0] + second[0])
    assert spelled(joined.between(0, len(first[0]))) == expected(first[0])


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 30, -1])
def test_what_is_cut_is_no_message(cut):
    data = encode({"do": "x"}, {"a": np.arange(3.0)})
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it trips over first
        decode(data[:cut])


@pytest.mark.parametrize(
    "listed",
    [
        '[["a", "|O", [1]]]',
        '[["a", "<f8", [-1]]]',
        '[["a", "<f8", [9]]]',
        '[["a", "<f8", [1e9]]]',
        "7",
        '[["a"]]',
        "[]",
    ],
)
def test_arrays_that_are_none_are_refused(listed):
    text = f'{{"arrays": {listed}}}'.encode()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        decode(HEAD.pack(len(text), 8) + text + b"\0" * 8)


def test_the_length_is_known_from_the_head():
    data = encode({"do": "x"}, {"a": np.arange(3.0)})
    assert length(data[:15]) is None
    assert length(data[:16]) == len(data)
    assert length(HEAD.pack(LARGEST, 1)) == HEAD.size

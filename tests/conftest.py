"""Fixtures shared by all tests: a small synthetic paired data set whose every number has a closed form."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads of each would fight for the cores

from html.parser import HTMLParser
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import hypothesis
import numpy as np
import pytest

from xferbench import dataset
from xferbench.functionals import Functional, Pair
from xferbench.records import PROPERTIES, Frame, FramePair, Geometry, SourceDataset, SplitRule
from xferbench.tasks import Bootstrap, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from types import ModuleType

hypothesis.settings.register_profile("xferbench", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("xferbench")

OFFSETS = {
    Functional("PBE"): {3: -1.9, 8: -4.9, 12: -1.5, 17: -1.8},
    Functional("r2SCAN"): {3: -2.4, 8: -5.7, 12: -3.9, 17: -5.8},
}
"""Elemental part of the synthetic energies, eV per atom of each atomic number."""

FORMULAS = [
    (3, 17), (3, 3, 8), (12, 8), (12, 17, 17), (3,), (12,), (3, 12), (3, 8), (12, 12, 8), (3, 17, 17), (3, 3, 12, 8),
    (12, 12, 17), (3, 12, 8), (3, 12, 17),
]  # fmt: skip


def synthetic_frame(formula: tuple[int, ...], copy: int, functional: Functional) -> Frame:
    """Springs to the lattice points of a cubic cell plus elemental offsets; r2SCAN springs are 10 % stiffer.

    E = Σ offset(Z) + k/2 Σ |u|² + n·b·(V/V0 - 1)²; forces -k u.
    """
    material = "-".join(str(z) for z in formula)
    rng = np.random.default_rng(sum(formula) * 100 + copy)
    n = len(formula)
    length = 4.0 * (1 + 0.03 * (copy % 3 - 1))
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0]])[:n] * length
    u = rng.normal(0, 0.05, (n, 3)) if copy else np.zeros((n, 3))
    k = 2.0 if functional == Functional("PBE") else 2.2
    x = (length / 4.0) ** 3 - 1
    energy = sum(OFFSETS[functional][z] for z in formula) + 0.5 * k * float((u**2).sum()) + n * 1.5 * x**2
    pair_id = f"{material}-{copy}"
    return Frame(
        frame_id=f"{pair_id}-{functional}",
        pair_id=pair_id,
        material_id=material,
        functional=functional,
        numbers=np.array(formula),
        positions=sites + u,
        cell=np.eye(3) * length,
        energy=energy,
        forces=-k * u,
        stress=np.eye(3) * n * 3.0 * x / 64.0,
        magmoms=np.full(n, 0.5) if 12 in formula else None,
    )


# the background jobs of a shell ignore it, and so would all that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the cache of whoever runs it, nor the index of prepared data sets there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XFERBENCH_CACHE", str(tmp_path_factory.mktemp("nobody")))
        yield


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., list[FramePair]]:
    """``make_pairs(n_materials=14, copies=3)`` -> same-geometry pairs, ordered by material."""

    def make(n_materials: int = len(FORMULAS), copies: int = 3) -> list[FramePair]:
        return [
            FramePair(
                source=synthetic_frame(formula, copy, Functional("PBE")),
                target=synthetic_frame(formula, copy, Functional("r2SCAN")),
                geometry=Geometry.SAME_GEOMETRY,
            )
            for formula in FORMULAS[:n_materials]
            for copy in range(copies)
        ]

    return make


@pytest.fixture(scope="session")
def synthetic_source(make_pairs: Callable[..., list[FramePair]]) -> SourceDataset:
    """The synthetic pairs as a data source, as ``prepare`` receives one."""
    return SourceDataset(
        name="synthetic",
        version="1",
        title="Springs",
        licence="mit",
        citation="none",
        card="Springs on cubic cells.",
        functionals=Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),)),
        geometry=Geometry.SAME_GEOMETRY,
        split=SplitRule(salt="synthetic", fractions=(0.6, 0.1, 0.3), group="formula"),
        frames=[frame for pair in make_pairs() for frame in (pair.source, pair.target)],
    )


@pytest.fixture(scope="session")
def synthetic_dataset(synthetic_source: SourceDataset, tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    """The synthetic pairs on disk: 27 training pairs of 9 materials, 15 test pairs of 5."""
    return dataset.build(synthetic_source, tmp_path_factory.mktemp("data") / "synthetic")


@pytest.fixture
def relaxed(synthetic_source: SourceDataset, tmp_path: Path) -> dataset.Dataset:
    """One pair per material, and every target frame for training."""
    pairs = [frame for frame in synthetic_source.frames if "-0-" in frame.frame_id]
    every = [replace(f, pair_id="") for f in synthetic_source.frames if f.functional == Functional("r2SCAN")]
    rule = SplitRule(salt="training", fractions=(0.5, 0.25, 0.25), group="formula")
    source = replace(synthetic_source, split=rule, geometry=Geometry.SAME_MATERIAL, frames=[*pairs, *every])
    return dataset.build(source, tmp_path / "relaxed")


@pytest.fixture(scope="session")
def synthetic_task(synthetic_dataset: dataset.Dataset) -> Task:
    """A task on the synthetic pairs that asks for every metric with every reference."""
    return Task(
        id="synthetic-static",
        version=1,
        title="Springs",
        description="Springs.",
        dataset="synthetic",
        fingerprint=synthetic_dataset.fingerprint,
        functionals=synthetic_dataset.functionals,
        side="target",
        split="test",
        calibration="train",
        properties=PROPERTIES,
        main="energy_mae/aligned",
        bootstrap=Bootstrap(n=200, seed=0, confidence=0.95),
        citation="none",
    )


LENNARD_JONES = """
from ase.calculators.lj import LennardJones

FUNCTIONAL = "r2SCAN"


def load_model(device):
    return LennardJones(sigma=1.8, epsilon=0.2, rc=6.0, smooth=True)
"""
"""A real potential with energy, forces and stress for every element, without weights: a ``model.py`` for tests."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory shared by the session, with ``mini`` prepared in it."""
    from xferbench import dataset

    directory = tmp_path_factory.mktemp("cache")
    dataset.prepare("mini", cache_dir=directory)
    return directory


@pytest.fixture
def lennard_jones(tmp_path: Path) -> Path:
    """The path of a ``model.py`` that works."""
    path = tmp_path / "lennard_jones.py"
    path.write_text(LENNARD_JONES)
    return path


class Node(ET.Element):
    """An element that can be read as on the screen."""

    @property
    def words(self) -> str:
        """The text, with single spaces."""
        return " ".join("".join(self.itertext()).split())

    def rows(self, body: int = 0) -> list[Node]:
        """Rows of one of the table bodies below."""
        return list(self.iter("tbody"))[body].findall("tr")

    def column(self, title: str) -> int:
        """Index of the column of the table below that has this heading."""
        return [head.words for head in self.find(".//thead/tr")].index(title)


class StrictParser(HTMLParser):
    """HTML as an element tree; every tag must be closed in order, void elements excepted."""

    VOID = frozenset({"br", "hr", "input", "link", "meta"})

    def __init__(self):
        super().__init__()
        self.builder = ET.TreeBuilder(Node)
        self.open = []
        self.builder.start("document", {})

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        self.builder.start(tag, {name: value if value is not None else "" for name, value in attrs})
        if tag in self.VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()
        self.builder.end(tag)

    def handle_data(self, data):
        self.builder.data(data)


def parse_html(markup: str) -> Node:
    """The document as a tree. Fails unless tags are balanced."""
    parser = StrictParser()
    parser.feed(markup)
    parser.close()
    assert not parser.open, f"never closed: {parser.open}"
    parser.builder.end("document")
    return parser.builder.close()


@pytest.fixture(scope="session")
def html() -> Callable[[str], Node]:
    """``html(markup)`` -> element tree of balanced HTML."""
    return parse_html


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """``script("coverage")`` -> the module of ``benchmarks/coverage.py``: a script, which finds its neighbours."""
    folder = Path(__file__).parents[1] / "benchmarks"

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def serving() -> Iterator[Callable[[type[BaseHTTPRequestHandler]], ThreadingHTTPServer]]:
    """``serving(Handler)`` -> a server of this machine until the test ends: ``.address``, and ``.seen`` for requests."""
    with ExitStack() as stack:

        def start(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
            made = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            made.daemon_threads = True
            made.address, made.seen = f"http://127.0.0.1:{made.server_port}", []
            thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(made.shutdown)
            return made

        yield start

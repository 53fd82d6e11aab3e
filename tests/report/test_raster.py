"""PNG figures: the light colours, no font of the machine, the same bytes."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

from xferbench.errors import MissingExtraError
from xferbench.report import raster
from xferbench.report.html import figure_style
from xferbench.report.markup import element
from xferbench.report.raster import png, require, simplified

pytest.importorskip("resvg_py", reason='PNG needs pip install ".[png]"')


def picture(figure, style=""):
    """The PNG as an array (height, width, 3)."""
    from PIL import Image

    with Image.open(io.BytesIO(png(figure, style))) as image:
        return np.asarray(image.convert("RGB"))


def square(*children, **attributes):
    return element("svg", *children, viewBox="0 0 20 10", **attributes)


def test_a_unit_of_the_figure_is_two_pixels_and_the_rest_is_paper():
    pixels = picture(square())
    assert pixels.shape == (20, 40, 3)
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()} == {(0xFC, 0xFB, 0xF8)}


def test_colours_come_from_the_figure_style_by_class():
    box = element("rect", class_="frame", x=0, y=0, width=10, height=10)
    pixels = picture(square(box), ".frame { fill: var(--point); stroke: none; }")
    assert pixels[10, 5].tolist() == [0x0B, 0x5A, 0x8A]
    assert pixels[10, 30].tolist() == [0xFC, 0xFB, 0xF8]


def test_the_shades_of_the_periodic_table_are_there():
    cell = element("g", element("rect", x=0, y=0, width=20, height=10), class_="q6")
    assert picture(square(cell, class_="ptable"))[10, 20].tolist() == [0x16, 0x4A, 0x72]


@pytest.mark.parametrize("text", ["r²SCAN, eV/Å", "−5.24", "Σ µB → λ"])
def test_text_is_drawn_without_a_font_of_the_machine(text):
    drawn = element("svg", element("text", text, x=5, y=20, class_="t"), class_="parity", viewBox="0 0 120 30")
    assert (picture(drawn).min(axis=-1) < 100).sum() > 100


def test_the_same_figure_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib; from xferbench.report.raster import png; from xferbench.report.markup import element;"
        "f = element('svg', element('text', 'PBE', x=1, y=9), viewBox='0 0 20 10'); print(hashlib.sha256(png(f)).hexdigest())"
    )
    runs = {subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(runs) == 1


def test_something_else_than_a_figure_is_refused():
    with pytest.raises(ValueError, match="a figure starts with <svg"):
        png(element("p", "text"))


@pytest.mark.parametrize("missing", ["resvg_py", "matplotlib"])
def test_a_missing_package_is_one_line_with_the_command(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r'^PNG needs the package .*; pip install "\.\[png\]"$'):
        require()


def test_the_style_of_the_pages_becomes_one_that_resvg_knows():
    rules = simplified(figure_style())
    assert not re.search(r"var\(|@|:is\(|:has\(|:root|::", rules)
    assert ".ptable .q0 text, .ptable .q1 text" in rules


@pytest.mark.parametrize(
    ("style", "rules"),
    [
        (":root { --a: red; } p { fill: var(--a); }", "p { fill: red; }"),
        ("p { x: 1; } @media print { p { x: 2; } q { x: 3; } } q { x: 4; }", "p { x: 1; }\nq { x: 4; }"),
        (".a :is(.b, .c) text { x: 1; }", ".a .b text, .a .c text { x: 1; }"),
        ("a, .b c { x: 1; }", "a, .b c { x: 1; }"),
        ("svg:root { x: 1; }", ""),
    ],
)
def test_worked_examples_of_simpler_styles(style, rules):
    assert simplified(style) == rules


def test_the_fonts_are_there():
    _, fonts = require()
    assert all((fonts / name).is_file() for name in raster.FILES)

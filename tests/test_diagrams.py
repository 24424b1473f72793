"""Diagrams: what was asked for is drawn, inside the frame, and can be read without being seen."""

import re
from xml.etree import ElementTree

import pytest

from aigc_course import diagrams

NODES = {"x": (0.0, 0.0), "E": (1.2, 0.0), "z": (2.4, -1.0)}


def elements(diagram: diagrams.Diagram, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(diagram._repr_html_()).iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def test_nodes_arrows_and_words() -> None:
    drawn = diagrams.draw(
        "From x by E to z & back.",
        NODES,
        [("x", "E", "z")],
        variables=["z"],
        bare=["x"],
        dashed=[("z", "E")],
        labels={"E": "E<1"},
        notes={"x": "28×28"},
        plates=[(-0.5, -2.0, 3.0, 1.0, "N")],
    )
    (svg,) = elements(drawn, "svg")
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "From x by E to z & back.")
    assert [text.text for text in elements(drawn, "text")] == ["N", "x", "28×28", "E<1", "z"]
    assert len(elements(drawn, "circle")) == 1
    assert len(elements(drawn, "rect")) == 2  # E and the plate
    assert len(elements(drawn, "path")) == len(elements(drawn, "polygon")) == 3
    assert sum("stroke-dasharray" in path.attrib for path in elements(drawn, "path")) == 1
    assert repr(drawn) == "Diagram: From x by E to z & back."


def test_all_lies_inside_the_frame() -> None:
    drawn = diagrams.draw("x", NODES, [("x", "E", "z", "x")], dashed=[("z", "E")], notes={"x": "1"})
    left, top, width, height = map(float, elements(drawn, "svg")[0].attrib["viewBox"].split())
    for path in elements(drawn, "path"):
        numbers = list(map(float, re.findall(r"-?[\d.]+", path.attrib["d"])))
        assert all(left < x < left + width for x in numbers[::2])
        assert all(top < y < top + height for y in numbers[1::2])


def test_a_long_way_back_lies_inside_the_frame() -> None:
    drawn = diagrams.draw("x", {"x": (0.0, 0.0), "z": (4.0, 0.0)}, dashed=[("z", "x")])
    top, height = (float(drawn.svg.split('viewBox="')[1].split()[place].strip('"')) for place in (1, 3))
    (path,) = elements(drawn, "path")
    start, control, end = map(float, re.findall(r"-?[\d.]+", path.attrib["d"])[1::2])
    curve = [start * (1 - t) ** 2 + 2 * control * t * (1 - t) + end * t**2 for t in (0.1 * k for k in range(11))]
    assert max(curve) > 60  # lower than any node
    assert all(top < y < top + height for y in curve)


def test_an_arrow_ends_at_the_node() -> None:
    drawn = diagrams.draw("x", {"x": (0.0, 0.0), "z": (1.0, 0.0)}, [("x", "z")], variables=["z"])
    tip = elements(drawn, "polygon")[0].attrib["points"].split()[0]
    circle = elements(drawn, "circle")[0].attrib
    assert float(tip.split(",")[0]) == pytest.approx(float(circle["cx"]) - float(circle["r"]) - 4)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arrows": [("x", "D")]}, "there is no node 'D'; the nodes are 'x', 'E', 'z'."),
        ({"notes": {"D": "1"}}, "there is no node 'D'"),
        ({"alt": " "}, "alt is empty"),
    ],
)
def test_bad_input(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        diagrams.draw(**{"alt": "x", "nodes": NODES, **options})  # type: ignore[arg-type]

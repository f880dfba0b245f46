"""Figures as files: every kind, the same bytes twice, and whole."""

import pytest

from experiments.figures import METADATA, blank_figure, encoded, save_figure

BEGINS = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}


def drawn(width: float = 2.0):
    figure = blank_figure(width, 1.5)
    figure.subplots().plot([0, 1], [1, 0])
    return figure


@pytest.mark.parametrize("kind", METADATA)
def test_a_file_has_its_kind_and_the_same_bytes_again(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("matplotlib").rcParams, "svg.hashsalt", "0")
    path = tmp_path / f"a.{kind.upper()}"
    save_figure(drawn(), path)
    content = path.read_bytes()
    assert content.startswith(BEGINS[kind])
    assert content == encoded(drawn(), kind) != encoded(drawn(2.5), kind)
    for word in (b"CreationDate", b"<dc:date>", b"matplotlib.org", b"<dc:creator>"):
        assert word not in content or (kind, word) == ("pdf", b"matplotlib.org")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_dots_are_of_the_png():
    few, many = (encoded(drawn(), "png", dots) for dots in (50, 100))
    width = [int.from_bytes(content[16:20], "big") for content in (few, many)]
    assert width == [100, 200]

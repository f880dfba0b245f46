"""``ufm track --full``: the sizes of the papers, and what they take."""

from dataclasses import replace

import pytest

from experiments.networks.tracks.full_size import at_full_size, full_hours
from experiments.networks.tracks.track import TRACKS, named_track


@pytest.mark.parametrize("name", TRACKS)
def test_full_sizes_are_options_that_there_are_and_say_what_they_take(name):
    options = named_track(name).options()
    made = at_full_size(options)
    assert all(getattr(made, key) == value for key, value in options.FULL.items())
    assert all(getattr(options, key) != value for key, value in options.FULL.items())
    assert (full_hours(options) > 0) == bool(options.FULL) != bool(options.UNKNOWN)
    assert full_hours(replace(options, seeds=6)) == 2 * full_hours(options)
    named_track(name).cells(made)  # options within their domain


@pytest.mark.slow
def test_a_track_of_full_size_runs_with_what_is_given(ufm, tmp_path):
    words = "--nodes 40 --graphs 2 --test-graphs 2 --free-graphs 1 --layers 2 --epochs 1 --seeds 1"
    cases = "--cases 2:12:3"
    ran = ufm(f"track gnn --full {words} {cases} --workers 1 --json --out", tmp_path / "a")
    assert ran.code == 0
    assert "nodes = 40" in ran.err


def test_a_track_without_full_size_is_refused(ufm, tmp_path):
    ran = ufm("track tgt --full --out", tmp_path / "b")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "Need a track whose full size is known. Got tgt: of the paper" in ran.err


def test_a_default_that_is_given_stays(ufm, tmp_path):
    ran = ufm("track gnn --full --nodes 400 --layers 0 --out", tmp_path / "x")
    assert ran.code == 2  # no layer, said after what the full size is
    assert "nodes = 400, graphs = 1000" in ran.err
    assert "hours of one processor" in ran.err


def test_what_is_soon_over_is_said_in_minutes_and_what_is_not_known_is_refused(ufm, tmp_path):
    ran = ufm("track redunet --full --eps 1e-200 --out", tmp_path / "x")
    assert ran.code == 2  # outside its domain, said after what the full size is
    assert "per_class = 100, depth = 50; about 0.2 minutes of one processor" in ran.err
    ran = ufm("track senet --full --out", tmp_path / "x")
    assert (ran.code, "Got senet: of the paper gamma = 200" in ran.err) == (2, True)

"""Names from the server become legal, unique and stable ones, whatever they hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.tree.naming import (
    NAME_LIMIT,
    PATH_LIMIT,
    Claim,
    is_job_id,
    legal_name,
    legal_path,
    marked,
    unique_paths,
)
from tests.tree.account import minutes

# All of Unicode, lone surrogates included, with what is dangerous in a path made frequent.
NASTY = st.one_of(
    st.text(st.one_of(st.characters(), st.sampled_from("./\\\0\n\t~ ab")), max_size=20),
    st.sampled_from(["", ".", "..", "/", "a" * 300, "ä" * 200, "x" * 250 + ".tar.gz", "." + "b" * 299]),
)
NASTY_PATHS = st.lists(NASTY, max_size=5).map("/".join)
GOOD = st.text(st.sampled_from("abcdefgABC.-_~ äß中0123"), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..")
)
# Few names and ids that differ only by case, so that clashes are the rule.
CLASHING = st.lists(
    st.tuples(
        st.sampled_from(["a", "a/b", "a/b/c", "A", "a~i1", "b", "a.txt", "a~i1.txt", "../a", "/a/b", "a\\b"]),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=12,
)


def is_legal(name: str) -> bool:
    encoded = name.encode()  # raises on a surrogate
    return (
        name not in ("", ".", "..")
        and not {"/", "\\", "\0", "\n", "\r", "\t", "\x7f", "\x85", "\u2028"} & set(name)
        and len(encoded) <= NAME_LIMIT
    )


def claims_of(wanted: list[tuple[str, int | None]]) -> dict[int, Claim]:
    return {
        number: Claim(f"i{number}", legal_path(path, "name"), None if at is None else minutes(at))
        for number, (path, at) in enumerate(wanted)
    }


@given(st.text(st.sampled_from("ab.-_ ~/"), max_size=12))
def test_a_path_that_needs_no_change_is_known_at_one_look(raw: str) -> None:
    parts = [legal_name(part) for part in raw.split("/") if part not in ("", ".")]
    assert legal_path(raw, "name") == (tuple(parts) or ("name",))


@given(NASTY)
def test_every_name_becomes_legal(raw: str) -> None:
    assert is_legal(legal_name(raw))


@given(NASTY)
def test_a_legal_name_stays_what_it_is(raw: str) -> None:
    name = legal_name(raw)
    assert legal_name(name) == name


@given(GOOD)
def test_a_good_name_is_kept(name: str) -> None:
    assert legal_name(name) == name


@given(NASTY_PATHS, NASTY)
def test_every_path_stays_below_where_it_starts(raw: str, name: str) -> None:
    parts = legal_path(raw, name)
    assert parts
    assert all(is_legal(part) for part in parts)
    assert len("/".join(parts).encode()) <= PATH_LIMIT
    assert legal_path("/".join(parts), name) == parts


@given(NASTY, st.text(max_size=60), st.booleans())
def test_a_marked_name_is_legal(raw: str, thing_id: str, keep_suffix: bool) -> None:
    assert is_legal(marked(legal_name(raw), thing_id, keep_suffix))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("airFoil2D/system/fvSchemes", ("airFoil2D", "system", "fvSchemes")),
        ("/etc/passwd", ("etc", "passwd")),
        ("../../etc/passwd", ("__", "__", "etc", "passwd")),
        ("./a//b/", ("a", "b")),
        ("run1\\fields\\p.vtk", ("run1", "fields", "p.vtk")),
        ("C:\\out.dat", ("C:", "out.dat")),
        ("a\nb/c\0d", ("a_b", "c_d")),
        ("bro\ud800ken", ("bro_ken",)),
        ("sys\u202efdp.exe", ("sys_fdp.exe",)),
        ("", ("the name",)),
        ("/", ("the name",)),
        ("d/" * 101 + "deep", ("the name",)),
        ("/".join(["long" * 50] * 16), ("the name",)),
    ],
)
def test_paths_become_what_is_documented(raw: str, expected: tuple[str, ...]) -> None:
    assert legal_path(raw, "the name") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mesh.msh", "mesh~XkpTse.msh"),
        ("fields.tar.gz", "fields~XkpTse.tar.gz"),
        ("README", "README~XkpTse"),
        (".bashrc", ".bashrc~XkpTse"),
        ("x." + "long" * 20, "x." + "long" * 20 + "~XkpTse"),
        ("y" * 255, "y" * 248 + "~XkpTse"),
        ("y" * 251 + ".dat", "y" * 244 + "~XkpTse.dat"),
        ("ä" * 127, "ä" * 124 + "~XkpTse"),
    ],
)
def test_the_id_goes_before_the_suffix(name: str, expected: str) -> None:
    assert marked(name, "XkpTse") == expected


def test_a_title_has_no_suffix() -> None:
    assert marked("run 1.5", "XkpTse", keep_suffix=False) == "run 1.5~XkpTse"


def test_an_id_that_is_no_word_is_not_put_into_a_name() -> None:
    name = marked("a", "../../x\n")
    assert is_legal(name)
    assert ".." not in name


@given(CLASHING)
def test_places_are_unique_and_no_file_is_a_folder(wanted: list[tuple[str, int | None]]) -> None:
    places = list(unique_paths(claims_of(wanted)).values())
    folders = {place[:depth] for place in places for depth in range(1, len(place))}
    assert len(set(places)) == len(places) == len(wanted)
    assert not folders & set(places)
    assert all(is_legal(part) for place in places for part in place)


@given(CLASHING, st.randoms())
def test_places_do_not_depend_on_the_order_of_the_listing(
    wanted: list[tuple[str, int | None]], chance: random.Random
) -> None:
    claims = claims_of(wanted)
    shuffled = list(claims.items())
    chance.shuffle(shuffled)
    assert unique_paths(dict(shuffled)) == unique_paths(claims)


@given(CLASHING, CLASHING)
def test_what_comes_later_renames_nothing(
    wanted: list[tuple[str, int | None]], later: list[tuple[str, int | None]]
) -> None:
    before = claims_of([(path, at or 0) for path, at in wanted])
    added = claims_of([(path, 10 + (at or 0)) for path, at in later])
    both = before | {
        1000 + number: Claim(f"n{number}", each.path, each.since) for number, each in added.items()
    }
    places = unique_paths(both)
    assert {number: places[number] for number in before} == unique_paths(before)


def test_the_oldest_keeps_the_bare_name() -> None:
    wanted = [("out.log", 2), ("out.log", 1), ("out.log", None)]
    assert unique_paths(claims_of(wanted)) == {
        1: ("out.log",),
        0: ("out~i0.log",),
        2: ("out~i2.log",),
    }


def test_a_file_beside_a_folder_of_its_name_is_marked_if_it_is_younger() -> None:
    assert unique_paths(claims_of([("a/b", 1), ("a", 2)])) == {0: ("a", "b"), 1: ("a~i1",)}


def test_a_folder_beside_a_file_of_its_name_is_marked_if_it_is_younger_and_shared_by_all_below() -> None:
    assert unique_paths(claims_of([("a", 1), ("a/b", 2), ("a/c", 3)])) == {
        0: ("a",),
        1: ("a~i1", "b"),
        2: ("a~i1", "c"),
    }


def test_ids_that_differ_only_by_case_stay_apart() -> None:
    claims = {key: Claim(key, ("out.log",), minutes(1)) for key in ("aB", "Ab", "ab")}
    assert unique_paths(claims) == {"Ab": ("out.log",), "aB": ("out~aB.log",), "ab": ("out~ab.log",)}


@pytest.mark.parametrize("name", ["aabbcc", "jNibFc", "7", "a-b_c"])
def test_short_words_are_job_ids(name: str) -> None:
    assert is_job_id(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".Trash", ".Trash-1000", "autorun.inf", "desktop.ini", "a b", "a/b", "x\n", "-x", "ä"],
)
def test_what_file_managers_look_for_is_no_job_id(name: str) -> None:
    assert not is_job_id(name)

from __future__ import annotations

from rescalefs.mount.pagecache import PageCache, Pages


def test_pages_of_one_version_are_kept_from_open_to_open() -> None:
    cache = PageCache()
    first = cache.lease("/x", "v1")
    assert first.pages is Pages.DROP
    assert cache.lease("/x", "v1").pages is Pages.KEEP
    cache.release(first, keep=True)
    assert cache.lease("/x", "v1").pages is Pages.KEEP
    assert cache.lease("/y", "v1").pages is Pages.DROP


def test_another_version_starts_anew() -> None:
    cache = PageCache()
    cache.release(cache.lease("/x", "v1"), keep=True)
    assert cache.lease("/x", "v2").pages is Pages.DROP
    assert cache.lease("/x", "v2").pages is Pages.KEEP


def test_another_version_passes_the_cache_by_while_the_first_is_open() -> None:
    cache = PageCache()
    old = cache.lease("/x", "v1")
    new = cache.lease("/x", "v2")
    assert new.pages is Pages.BYPASS
    cache.release(new, keep=True)
    assert cache.lease("/x", "v1").pages is Pages.KEEP
    cache.release(old, keep=True)
    assert cache.lease("/x", "v2").pages is Pages.BYPASS  # one reader of v1 is left


def test_wrong_bytes_spoil_the_pages_for_all_who_share_them_and_for_nobody_else() -> None:
    cache = PageCache()
    one, other = cache.lease("/x", "v1"), cache.lease("/x", "v1")
    elsewhere = cache.lease("/y", "v1")
    cache.spoil(one)
    assert (one.spoiled, other.spoiled, elsewhere.spoiled) == (True, True, False)
    later = cache.lease("/x", "v1")
    assert (later.pages, later.spoiled) == (Pages.BYPASS, False)
    for lease in (one, other, later):
        cache.release(lease, keep=True)
    fresh = cache.lease("/x", "v1")
    assert (fresh.pages, fresh.spoiled) == (Pages.DROP, False)


def test_it_forgets_the_oldest_path_that_nobody_has_open() -> None:
    cache = PageCache(remembered=2)
    kept = cache.lease("/open", "v")
    cache.release(cache.lease("/idle", "v"), keep=True)
    cache.lease("/new", "v")
    assert cache.lease("/open", "v").pages is Pages.KEEP
    assert cache.lease("/idle", "v").pages is Pages.DROP
    cache.release(kept, keep=True)


def test_pages_that_nobody_has_confirmed_end_with_their_last_reader() -> None:
    cache = PageCache()
    one, other = cache.lease("/x", "v1"), cache.lease("/x", "v1")
    cache.release(one, keep=False)
    third = cache.lease("/x", "v1")
    assert third.pages is Pages.KEEP
    cache.release(other, keep=False)
    cache.release(third, keep=False)
    assert cache.lease("/x", "v1").pages is Pages.DROP


def test_bytes_of_another_version_are_not_accepted_beside_those_that_are_there() -> None:
    cache = PageCache()
    one, other = cache.lease("/x", "v1"), cache.lease("/x", "v1")
    assert cache.accepts(one, "v1")
    assert cache.accepts(other, "v1")
    assert not cache.accepts(one, "v2")
    assert not cache.accepts(other, "v2")
    assert (one.spoiled, other.spoiled) == (True, True)


def test_what_was_found_wrong_before_it_was_given_to_anyone_spoils_nothing() -> None:
    cache = PageCache()
    lease = cache.lease("/x", "v1")
    assert cache.accepts(lease, "v2")
    assert cache.accepts(lease, "v2")
    assert not cache.accepts(lease, "v1")


def test_who_goes_past_the_pages_spoils_none() -> None:
    cache = PageCache()
    lease = cache.bypass("/x", "v1")
    assert lease.pages is Pages.BYPASS
    assert cache.accepts(lease, "v1")
    assert cache.accepts(lease, "v2")
    cache.release(lease, keep=False)
    assert cache.lease("/x", "v2").pages is Pages.DROP


def test_a_mapping_of_one_version_is_no_reader_of_anothers_pages() -> None:
    cache = PageCache()
    old = cache.lease("/x", "old")
    new = cache.lease("/x", "new")
    assert new.pages is Pages.BYPASS
    assert cache.accepts(old, "old")
    assert not cache.joins(new, "new")
    assert (old.spoiled, new.spoiled) == (True, True)
    cache.release(old, keep=True)
    cache.release(new, keep=True)


def test_mappings_of_one_version_share_pages_and_keep_another_version_out() -> None:
    cache = PageCache()
    one, other = cache.bypass("/x", "v"), cache.bypass("/x", "v")
    assert all(cache.joins(lease, "v") for lease in (one, other, one))
    cache.release(one, keep=False)
    assert cache.lease("/x", "w").pages is Pages.BYPASS
    cache.release(other, keep=False)
    assert cache.lease("/x", "w").pages is Pages.DROP

"""The table of photos that share their content follows every change of photos."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipsearch.catalog import Catalog, photos

STEPS = st.tuples(st.sampled_from(["put", "put", "drop"]), st.integers(1, 8), st.integers(0, 2))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    made = Catalog(tmp_path_factory.mktemp("library") / "catalog.db")
    yield made
    made.close()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_copies_are_those_that_share_their_content(
    catalog: Catalog, steps: list[tuple[str, int, int]]
) -> None:
    contents: dict[int, bytes] = {}
    with catalog.write() as db:
        db.execute("insert into root (id, path, added_at) values (1, x'2f', 'then')")
        for step, photo_id, content in steps:
            if step == "drop":
                db.execute("delete from photo where id = ?", [photo_id])
                contents.pop(photo_id, None)
                continue
            contents[photo_id] = b"content %d" % content
            db.execute(
                "insert into photo (id, root_id, path, name, size, mtime_ns, content_hash,"
                " format, width, height, orientation, indexed_at)"
                " values (?, 1, ?, '', 1, 1, ?, 'JPEG', 1, 1, 1, 'then')"
                " on conflict (id) do update set content_hash = excluded.content_hash",
                [photo_id, b"%d" % photo_id, contents[photo_id]],
            )
            all_contents = list(contents.values())
            shared = sorted(i for i, own in contents.items() if all_contents.count(own) > 1)
            ids, groups = photos.copies(db)
            assert ids.tolist() == shared
            for one, group in zip(ids.tolist(), groups.tolist(), strict=True):
                for other, its_group in zip(ids.tolist(), groups.tolist(), strict=True):
                    assert (contents[one] == contents[other]) == (group == its_group)
        db.execute("delete from root")  # and with it all photos
        assert not len(photos.copies(db)[0])

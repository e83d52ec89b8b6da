"""Thumbnails are made once, upright, small, and tell nothing but the picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from clipsearch.errors import LibraryError, PhotoError
from clipsearch.photos.decode import content_hash
from clipsearch.photos.thumbnails import thumbnail, thumbnail_path


def make_photo(path: Path, size: tuple[int, int] = (1200, 800), orientation: int = 1) -> str:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Acme"
    Image.linear_gradient("L").resize(size).convert("RGB").save(path, exif=exif)
    return content_hash(path).hex()


def test_fits_into_the_square_and_carries_no_metadata(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    key = make_photo(photo)
    made = thumbnail(photo, tmp_path / "thumbnails", key=key)
    assert made == tmp_path / "thumbnails" / key[:2] / f"{key}-360.webp"
    with Image.open(made) as image:
        assert (image.format, image.size) == ("WEBP", (360, 240))
        assert not image.getexif()
        assert not {"exif", "xmp", "icc_profile"} & set(image.info)
    assert [path.name for path in made.parent.iterdir()] == [made.name]


def test_is_upright(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    key = make_photo(photo, orientation=6)
    with Image.open(thumbnail(photo, tmp_path, key=key, size=120)) as image:
        assert image.size == (80, 120)


@pytest.mark.parametrize(("size", "expected"), [((50, 30), (50, 30)), ((3000, 2), (360, 1))])
def test_is_never_enlarged_and_never_empty(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    photo = tmp_path / "a.png"
    key = make_photo(photo, size)
    with Image.open(thumbnail(photo, tmp_path, key=key)) as image:
        assert image.size == expected


def test_is_made_once(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    key = make_photo(photo)
    first = thumbnail(photo, tmp_path, key=key)
    photo.unlink()
    assert thumbnail(photo, tmp_path, key=key) == first
    with pytest.raises(PhotoError, match="no such file"):
        thumbnail(photo, tmp_path, key=key, size=100)


def test_a_long_name_does_not_matter(tmp_path: Path) -> None:
    photo = tmp_path / ("x" * 240 + ".jpg")
    key = make_photo(photo)
    assert thumbnail(photo, tmp_path, key=key).is_file()


@pytest.mark.parametrize("key", ["", "../../etc", "ABCD", "12", "12/45"])
def test_a_key_is_a_hash(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="hash"):
        thumbnail_path(tmp_path, key)


def test_says_where_it_could_not_write(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    key = make_photo(photo)
    with pytest.raises(LibraryError, match="cannot be written"):
        thumbnail(photo, photo, key=key)


def test_a_broken_photo_leaves_nothing_behind(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"no photo")
    with pytest.raises(PhotoError):
        thumbnail(photo, tmp_path / "thumbnails", key="abcd")
    assert not (tmp_path / "thumbnails").exists()

"""Bring pixels of every kind to one: 8-bit RGB, upright, no larger than is of use."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from math import ceil

import numpy as np
from PIL import Image, ImageCms, ImageFile

# Bands of this many pixels are converted at a time, so that the copies which a conversion
# makes stay small beside the picture itself: 169 megapixels of 1 bit would be 500 MB of RGB.
BAND_PIXELS = 4_000_000

MOST_PIXELS = 64_000_000
"""Pixels of a result: shreds of a thousand times their width would stay as large as they are."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Convert = Callable[[Image.Image], Image.Image]


def upright_rgb(image: Image.Image, orientation: int, size: int) -> Image.Image:
    """Return a loaded image as 8-bit RGB over white, turned upright.

    `orientation` is the EXIF value (1 to 8) that still has to be applied. Where the
    shortest side has more than twice `size` pixels, the result is a whole fraction of the
    original whose shortest side has at least twice `size`; less only where it would have more
    than `MOST_PIXELS`.
    """
    factor = max(1, min(image.size) // (2 * size))
    while ceil(image.width / factor) * ceil(image.height / factor) > MOST_PIXELS:
        factor += 1
    convert = _converter(image)
    if image.width * image.height <= BAND_PIXELS:
        result = _shrunk(convert(image), factor)
    else:
        result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
        for top, band in _bands(image, factor):
            result.paste(_shrunk(convert(band), factor), (0, top // factor))
    turn = _TURNS.get(orientation)
    if turn is not None:
        result = result.transpose(turn)
    elif isinstance(result, ImageFile.ImageFile):
        result = result.copy()
    # Whoever meets the orientation or the profile again would apply it a second time.
    result.info = {}
    return result


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    return image.reduce(factor) if factor > 1 else image


def _bands(image: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into horizontal bands whose heights are multiples of `factor`."""
    rows = max(1, BAND_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _converter(image: Image.Image) -> Convert:
    """Choose once for the whole image how its bands become RGB."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey_scaler(image)
    correct = _profile_correction(image)
    if image.mode == "CMYK":
        return correct or _plain
    flatten = _flat if image.has_transparency_data else _plain
    if correct is None:
        return flatten

    def flatten_and_correct(band: Image.Image) -> Image.Image:
        return correct(flatten(band))

    return flatten_and_correct


def _plain(band: Image.Image) -> Image.Image:
    return band if band.mode == "RGB" else band.convert("RGB")


def _flat(band: Image.Image) -> Image.Image:
    try:
        layer = band.convert("RGBA")
    except (ValueError, TypeError, OSError):
        # A transparency entry that fits no pixel format: the colours are still good.
        band.info.pop("transparency", None)
        return band.convert("RGB")
    white = Image.new("RGB", band.size, (255, 255, 255))
    white.paste(layer, mask=layer.getchannel("A"))
    return white


def _grey_scaler(image: Image.Image) -> Convert:
    """Map the values that occur to 0..255: Pillow's own conversion clips at 255, to white.

    What occurs counts, not what the type could hold: 12-bit scanners and floating point
    files fill only a part of it.
    """
    low, high = np.inf, -np.inf
    for _, band in _bands(image):
        values = _numbers(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not high > low:
        # One value everywhere: any grey is as true as another.
        low, high = 0.0, max(65535.0, high if np.isfinite(high) else 0.0)

    def scale(band: Image.Image) -> Image.Image:
        values = _numbers(band)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        # In double precision: low and high of a float image may be as far apart as 1e38.
        grey = (values.astype(np.float64) - low) * (255.0 / (high - low))
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")

    return scale


def _numbers(band: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(band).astype(np.float32)


def _profile_correction(image: Image.Image) -> Convert | None:
    """Return the way from the embedded colour profile to sRGB, or None if there is none.

    Measured on 500 x 375 pixels: 6 ms, and only for photos whose profile is not sRGB
    itself, whose colours would otherwise be pale (Adobe RGB, Display P3) or inked (CMYK).
    """
    data = image.info.get("icc_profile")
    space = "CMYK" if image.mode == "CMYK" else "RGB"
    if not isinstance(data, bytes) or image.mode in ("1", "L", "LA", "LAB"):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if str(profile.profile.xcolor_space).strip() != space:
            return None
        if space == "RGB" and "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), space, "RGB", ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

    def correct(band: Image.Image) -> Image.Image:
        corrected = ImageCms.applyTransform(band, transform)
        return band.convert("RGB") if corrected is None else corrected

    return correct

"""Which way up an image is, by its EXIF tag."""

from __future__ import annotations

from PIL import ExifTags, Image

#: EXIF's orientation -> what turns the image upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> Image.Transpose | None:
    """What EXIF's orientation asks for; None where it cannot be read.

    The tags beside it are not looked at: they are often damaged where the pixels are whole.
    """
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as many kinds as there are ways to damage a tag
        return None

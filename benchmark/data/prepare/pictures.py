"""One image of a source: opened by the suite's decoders, and cropped or kept byte by byte."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext

from PIL import Image, UnidentifiedImageError

from benchmark.data.images import ONE_AT_A_TIME, Refused, check_size, opened
from benchmark.data.prepare.recipe import Box
from benchmark.errors import RequestError

QUALITY = 95  #: of the JPEG that a crop becomes, colour at full resolution (4:4:4)

_large = threading.Lock()


def made_of(encoded: bytes, name: str, box: Box | None) -> bytes:
    """The bytes to write: the crop as a JPEG, or ``encoded`` itself once it is known to decode.

    A crop is of the pixels as they are stored, on which the published boxes were drawn: EXIF's orientation is not
    applied. Grey stays grey; everything else becomes RGB.

    Args:
        name: what to call the image in an error.
        box: clipped to the image.

    Raises:
        RequestError: it does not decode, has a format that is not read, is too large, or lies outside its box.
    """
    try:
        with opened(encoded) as image:
            check_size(*image.size)
            with _large if image.width * image.height > ONE_AT_A_TIME else nullcontext():
                if box is None:
                    image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))  # a JPEG's every byte is
                    image.load()  # read all the same, and only an eighth of the pixels computed
                    return encoded
                return _cropped(image, box)
    except Refused as error:
        raise RequestError(f"{name} {error}.") from error
    except UnidentifiedImageError as error:
        raise RequestError(f"{name} does not decode: not an image that can be read.") from error
    except Exception as error:  # a decoder raises nearly anything on a damaged file
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise RequestError(f"{name} does not decode: {detail}.") from error


def _cropped(image: Image.Image, box: Box) -> bytes:
    left, top = max(0, box[0]), max(0, box[1])
    right, bottom = min(image.width, box[2]), min(image.height, box[3])
    if left >= right or top >= bottom:
        raise Refused(f"has {image.width} x {image.height} pixels, and its box {box} lies outside")
    image.load()
    part = image.crop((left, top, right, bottom))
    buffer = io.BytesIO()
    (part if part.mode == "L" else part.convert("RGB")).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()

"""Numbers of a few bits each, packed into bytes: masks (1 bit) and owner indices (as many as the tasks need)."""

from __future__ import annotations

import torch
from torch import Tensor

_BYTE = 8


def pack_bits(bits: Tensor) -> Tensor:
    """bool (n,) -> uint8 (ceil(n / 8),), first bit lowest; the last byte is padded with zeros."""
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -len(bits) % _BYTE)).view(-1, _BYTE)
    packed = padded[:, 0].clone()
    for position in range(1, _BYTE):
        packed |= padded[:, position] << position
    return packed


def packed_length(count: int) -> int:
    """Bytes that ``count`` bits take."""
    return -(-count // _BYTE)


def unpack_bits(packed: Tensor, count: int) -> Tensor:
    """uint8 (ceil(count / 8),) -> bool (count,).

    Raises:
        ValueError: the bytes do not fit ``count`` bits.
    """
    if len(packed) != packed_length(count):
        raise ValueError(f"{len(packed)} bytes cannot hold exactly {count} bits")
    positions = torch.arange(_BYTE, dtype=torch.uint8, device=packed.device)
    every_byte = torch.arange(2**_BYTE, dtype=torch.uint8, device=packed.device)
    # the eight bools of each possible byte, side by side as one int64: unpacking is then one look-up a byte
    table = ((every_byte[:, None] >> positions) & 1).view(torch.int64).view(-1)
    return table.index_select(0, packed.int()).view(torch.bool)[:count]


def bits_for(highest: int) -> int:
    """Bits that hold 0 to ``highest``: 5 for twenty tasks and "free"."""
    return max(1, highest.bit_length())


def pack_numbers(numbers: Tensor, bits: int) -> Tensor:
    """Integers (n,) of ``bits`` bits each -> uint8 (ceil(n bits / 8),), one bit plane after another."""
    return pack_bits(torch.cat([(numbers >> bit) & 1 for bit in range(bits)]).to(torch.bool))


def bits_of(packed: Tensor, count: int) -> int:
    """Of how many bits each ``pack_numbers`` made its ``count`` numbers."""
    return len(packed) * _BYTE // count


def unpack_numbers(packed: Tensor, bits: int, count: int) -> Tensor:
    """The inverse of ``pack_numbers``: int16 (count,)."""
    planes = unpack_bits(packed, bits * count).view(bits, count)
    numbers = torch.zeros(count, dtype=torch.int16, device=packed.device)
    for bit in range(bits):
        numbers |= planes[bit].to(torch.int16) << bit
    return numbers

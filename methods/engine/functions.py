"""The base of mask computations under autograd, so that a profile can tell their time from the network's."""

from __future__ import annotations

import torch


class MaskFunction(torch.autograd.Function):
    """An autograd function whose work is the mask's, not the network's."""

"""Faster ways to the numbers that ``methods.engine.masks`` defines; equal bit for bit, by test."""

from __future__ import annotations

from methods.engine.fast.passes import effective_weights, serves

__all__ = ["effective_weights", "serves"]

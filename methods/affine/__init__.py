"""Affine masks: an affine transformation of every layer's weights that contains a binary mask."""

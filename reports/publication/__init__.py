"""Figures and LaTeX tables in the widths of a two-column paper, of the methods asked for: ``report --paper``."""

"""Every task alone, from random weights: what sharing is measured against."""

"""CPG without expansion: compact, pick, and do not grow."""

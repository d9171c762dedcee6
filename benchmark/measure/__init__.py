"""What a run is measured by: clocks and gauges, sizes, provenance, and what makes its times doubtful."""

"""What a run is measured by: clocks and gauges, sizes, provenance, and timing caveats."""

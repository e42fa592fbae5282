"""Setting up a station: thresholds with a stated guarantee, and reports that a quality engineer can check."""

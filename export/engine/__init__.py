"""Engines from bundles, on the device that will run them. Needs TensorRT and no torch."""

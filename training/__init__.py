"""Recipes that make weights. Offline; needs torch."""

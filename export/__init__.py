"""The workshop: from a fine-tuned checkpoint to a proven bundle."""

"""`make bench`: what things cost here. It prints and records figures; it judges nothing."""

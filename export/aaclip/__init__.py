"""AA-CLIP: a CLIP file and one or two adapter files → the same kind of bundle as every other head."""

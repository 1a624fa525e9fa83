"""A run: from an iterable of conversations to a result for each, some of them at a time."""

"""Guided decoding: what an answer must fit, who sees to it, and the check that it does."""

"""Batches that outlive the process: what a backend is, and what core does with any of them."""

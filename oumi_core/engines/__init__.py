"""Engines that come with core."""

"""Settings of the whole suite."""

from hypothesis import settings

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None)
settings.load_profile("oumi")

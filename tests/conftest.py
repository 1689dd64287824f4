"""For all tests."""

from hypothesis import settings

# How long an example takes says nothing where other work is going on.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

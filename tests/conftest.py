"""Settings that the whole suite shares."""

from hypothesis import settings

# The same examples on every machine, and no verdict that depends on how busy it is.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

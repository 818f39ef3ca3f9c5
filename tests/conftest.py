"""How many examples Hypothesis tries: HYPOTHESIS_PROFILE=long asks for 2,000 a property, else 50."""

import os

from hypothesis import settings

# Kernels compile during their first example, so no example has a deadline.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("long", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

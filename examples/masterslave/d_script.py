"""A script that knows nothing of masters: one is made by the module that it imports.

``d_analysis.py`` makes the master when it is imported; ``d_handlers.py`` has the slaves' functions.
Two trajectories are alive as global states, there are three kinds of tasks, and results are
taken as they come. Nothing is shut down: that happens when the script ends.

Run it with ``python d_script.py``. It prints three properties of a thin and of a dense liquid.
"""

import d_analysis
from lennard_jones import simulate

for density in (0.3, 0.7):
    d_analysis.add(f"density {density}", simulate(frames=60, density=density))

for name, properties in sorted(d_analysis.results().items()):
    print(name)
    for tag, value in sorted(properties.items()):
        print(f"  {tag:12} {value:.3f}")

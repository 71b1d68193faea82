"""What pyrotask costs, beside other systems, on the same work in the same run.

    python -m benchmarks --help          measure
    python -m benchmarks.peers --install make the other systems' environments
    python -m benchmarks.page FILE.json  the documentation's tables of such a run

Each measurement (a *trial*) is a process of its own, in the environment of the system that is
measured: `trial`. It starts that system through its adapter (`ours`, `peers/`), does one of the
`workloads` with it, and prints figures. The `runner` starts the trials, one after the other, and
takes turns between the systems in each round; `results` keeps what they printed, `tables` and
`page` show it.

What a trial imports must not import pyrotask, but for `ours`: the other systems' environments
do not have it.
"""

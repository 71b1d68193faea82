"""Everything that runs tasks: one supervisor on a node, and its children.

    handlers      which function runs which tag
    running       one task, from its payload to its result
    child         the process that runs tasks: lease, run, hand in
    begun         the memory in which a child notes what it has begun, and its supervisor reads
    tether        nobody outlives whoever started it
    offspring     one child, seen from its supervisor: starting, watching, ending it
    reporter      the supervisor's line to the broker: beats and reports
    supervisor    keeps the children running
    signals       SIGTERM and Ctrl-C, for its process

``python -m pyrotask.worker LABEL -n 4 --module my_tasks`` starts a supervisor.
"""

"""Everything that runs tasks: one supervisor on a node, and its children.

    handlers      which function runs which tag
    functions     functions that come with their tasks, from an Executor: every worker runs them
    running       one task, from its payload to its result
    child         the process that runs tasks: lease, run, hand in
    pace          how many tasks it leases at once
    tray          what it has leased and not begun: it takes that out, or its supervisor does
    exchanges     what it says to the broker about them: results for tasks
    outbox        its results, until the broker has acknowledged them
    porter        hands results in while a long task runs
    begun         the memory in which a child notes what it has begun, and its supervisor reads
    tether        nobody outlives whoever started it
    offspring     one child, seen from its supervisor: starting, watching, ending it
    tail          what a child writes to its stderr: passed on, the end kept
    trays         gives back what waits behind a long task
    reporter      the supervisor's line to the broker: beats and reports
    events        what the supervisor tells of them
    supervisor    keeps the children running
    signals       SIGTERM and Ctrl-C, for its process

``python -m pyrotask.worker LABEL -n 4 --module my_tasks`` starts a supervisor.
"""

"""The pure core: what a task manager is, without a clock, a thread, a socket or a disk.

Read it in this order:

    model         the things: tasks, processes, sessions, and their values
    events        the facts: everything that can happen to them
    transitions   the life of a task, as one table
    state         the durable state, and `apply`, the only thing that changes it
    lanes         where waiting and finished tasks stand in line
    parking       blocked requests, the oldest first
    deadlines     what must be looked at when
    retry         when a task that raised runs again
    machine       the commands: they read the state, decide, and record events
    invariants    `check`: everything that must be true at any moment

Nothing here reads a clock (time is an argument), draws a random number, logs or blocks.
Everything here is called under the broker's one lock.
"""

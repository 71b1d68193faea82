"""Our own client: tasks in, futures out, and each answer exactly once.

    session      `Session`: what a program uses; it holds the threads below together
    future       what `submit` returns: a `concurrent.futures.Future`
    outcomes     what came over the wire -> a value, or the exception
    ledger       which future waits for which task, and which answers are taken over
    sender       the thread that sends what was submitted, as much at once as has gathered
    collector    the thread that waits for answers, and gives them to the futures
    link         calls that are repeated until their reply is there

Only `link` talks to the broker. The ledger is plain bookkeeping under the session's one lock; it
knows no threads.
"""

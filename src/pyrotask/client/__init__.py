"""Our own client: tasks in, futures out, and each answer exactly once.

    aio          `AsyncClient`: an executor for programs with an event loop
    executor     `Executor`: the standard library's interface, over a session
    mapping      one `Executor.map`: items -> chunks that size themselves -> results in order
    progress     how far a loop over answers has come, for people
    cell         the same below a notebook's cell
    callables    which functions are at the broker already
    identity     which function it is, the same in another run: for calls with a key
    local        a broker and workers of an Executor's own
    session      `Session`: submit and collect; it holds the threads below together
    future       what `submit` returns: a `concurrent.futures.Future`
    outcomes     what came over the wire -> a value, or the exception
    ledger       which future waits for which task, and which answers are taken over
    sender       the thread that sends what was submitted, as much at once as has gathered
    collector    the thread that waits for answers, and gives them to the futures
    link         calls that are repeated until their reply is there
    near         the same calls to a broker in this process

Only `link` and `near` talk to the broker. The ledger is plain bookkeeping under the session's one lock; it
knows no threads.
"""

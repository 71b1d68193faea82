"""The pure core: what a task manager is, without a clock, a thread, a socket or a disk.

Read it in this order:

    model         the things: tasks, processes, sessions, and their values
    events        the facts: everything that can happen to them
    transitions   the life of a task, as one table
    records       what the durable state is made of, and the steps by which it changes
    state         the durable state, and `apply`, the only thing that changes it
    lanes         where waiting and finished tasks stand in line
    parking       blocked requests, the oldest first
    deadlines     what must be looked at when
    presence      who is connected, who was heard when, and when a silence is a loss
    retry         when a task that raised runs again
    machine       the commands: they read the state, decide, and record events
    sessions      the commands of our own clients: calls done once, answers that arrive once
    interventions the commands from outside: cancel, retry, forget, one task or many
    selection     choosing tasks by what they are, and telling about them
    invariants    `check`: everything that must be true between two commands
    explain       why tasks wait, in sentences

The commands are made of these, each with one reason to change:

    recorder      what a command leaves behind: events, answers, lanes to look at
    lookup        finding what a call names, and refusing what is not there
    leases        how a task is handed out, and the ways in which that ends
    endings       how a task ends, what follows from it, how its answer is delivered
    liveness      signs of life, and the deadlines that follow from them
    membership    how processes and supervisors come, go and are lost
    matching      pairing blocked requests with what comes into line

Nothing here reads a clock (time is an argument), draws a random number, logs or blocks.
Everything here is called under the broker's one lock.
"""

"""The whole operator against an in-memory Kubernetes and Feldera, in virtual time, from a seed.

    loop        an event loop without sockets or waiting: processes that crash and freeze, one clock for the world
    network     what becomes of a message: late, lost, twice, cut in half
    kubernetes  the objects, the watch, the API server's answers
    feldera     pipelines as they really are, and as the runner last saw them
    operator    the product, wired as in production, with a clock of its own
    actors      people, GitOps controllers, owners of pipelines, and accidents
    truth       what the documentation promises, computed again without the product's code
    checks      the invariants
    world       all of it in one place, from one seed
    episode     a world drawn from a seed, with stretches of trouble and of rest
    machine     a world whose events Hypothesis chooses, one by one, and shortens
    stories     what was found, told again
    mutations   the product's safety rules, each broken on purpose
    report      what was done and found, in figures

`make soak ARGS="--seed 7"` plays one seed, the same way every time.
"""

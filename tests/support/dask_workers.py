"""What a worker of a Dask cluster says of itself."""


def kept_in(dask_worker):
    """On a worker: what keeps its results, the memory it may have, and whether Dask looks at that.

    A plain dict spills nothing; Dask's SpillBuffer does.
    """
    watched = "memory_monitor" in dask_worker.periodic_callbacks
    return type(dask_worker.data).__name__, dask_worker.memory_manager.memory_limit, watched


NEVER_SPILLS = ("dict", None, False)

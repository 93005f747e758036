"""gunicorn's configuration in the stack: sync workers, and a witness of which requests were begun.

A drill marks its requests with X-Drill-Id. What a worker begins is noted before the application sees it, so that afterwards
one can tell a request that was never sent from one that may have been executed.
"""

import os

worker_class = "sync"
timeout = 60
graceful_timeout = 30

_file = os.environ.get("STACK_WITNESS")


def pre_request(worker, req):
    if not _file:
        return
    for name, value in req.headers:
        if name.upper() == "X-DRILL-ID":
            # One write of few bytes to a file opened for appending is not torn.
            with open(_file, "a") as file:
                file.write(value + "\n")

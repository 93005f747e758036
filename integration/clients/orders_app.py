"""An application with a known service time, for gunicorn: a worker that has a request sleeps, then answers.

/big answers a mebibyte, everything else 16 KiB; a body is read first, as a view would.
"""

import os
import time

SERVICE = float(os.environ.get("STACK_SERVICE", "0.05"))
PAGE = b"x" * 16 * 1024
BIG = b"x" * 1024 * 1024


def application(environ, start_response):
    environ["wsgi.input"].read()
    time.sleep(SERVICE)
    body = BIG if environ["PATH_INFO"] == "/big" else PAGE
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
    return [body]

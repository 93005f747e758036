"""An application that tells what reached it, as JSON; for gunicorn.

/slow takes half a second, /held?FILE as long as that file is not there (at most 20 s), /big answers a mebibyte,
/chunks streams without a length, /cookie sets one.
"""

import hashlib
import json
import os
import time


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.5)
    if path == "/held":
        end = time.monotonic() + 20
        while not os.path.exists(environ["QUERY_STRING"]) and time.monotonic() < end:
            time.sleep(0.01)
    if path == "/big":
        return answer(start_response, b"x" * 1024 * 1024)
    if path == "/chunks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"piece %d\n" % number for number in range(100))
    told = {
        "method": environ["REQUEST_METHOD"],
        "path": path,
        "query": environ["QUERY_STRING"],
        "headers": {name[5:].lower(): value for name, value in environ.items() if name.startswith("HTTP_")},
        "content_length": environ.get("CONTENT_LENGTH"),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    fields = [("Set-Cookie", "seen=yes; Path=/")] if path == "/cookie" else []
    return answer(start_response, json.dumps(told).encode(), fields)


def answer(start_response, body, fields=()):
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *fields])
    return [body]

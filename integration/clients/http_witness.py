"""A WSGI application that tells what it understood of a request, and notes it in a file, so that one can count what came
through a proxy and compare it with what was sent.

/bytes/N answers with N bytes, /pieces/N with N bytes of unknown length; everything else with what the request was.
"""

import hashlib
import json
import os

SEEN = os.environ["ECHO_SEEN"]


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    seen = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "fields": {
            name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")
        },
    }
    line = json.dumps(seen, sort_keys=True) + "\n"
    with open(SEEN, "a") as file:
        file.write(line)
    _, kind, *rest = environ["PATH_INFO"].split("/") + [""]
    if kind in ("bytes", "pieces"):
        length = int(rest[0])
        known = [("Content-Length", str(length))] if kind == "bytes" else []
        start_response("200 OK", [("Content-Type", "application/octet-stream"), *known])
        whole, part = divmod(length, 1 << 16)
        return (b"x" * size for size in [1 << 16] * whole + [part] if size)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(line)))])
    return [line.encode()]

"""requests through http-lb. Argument: the address."""

import hashlib
import sys

import requests

BASE = f"http://{sys.argv[1]}"
session = requests.Session()


def told(method, path, **more):
    answer = session.request(method, BASE + path, timeout=20, **more)
    assert answer.status_code == 200, (path, answer.status_code, answer.text[:200])
    return answer


def sha(data):
    return hashlib.sha256(data).hexdigest()


# A query, a field, and who asks: what a client claims of that itself is not believed.
seen = told("GET", "/a/b?c=d%20e", headers={"X-Forwarded-For": "6.6.6.6", "X-Mine": "1", "X_Forged": "2"}).json()
assert (seen["path"], seen["query"], seen["headers"]["x_mine"]) == ("/a/b", "c=d%20e", "1"), seen
assert seen["headers"]["x_forwarded_for"] == "127.0.0.1" and "x_forged" not in seen["headers"], seen
assert seen["headers"]["x_forwarded_proto"] == "http", seen

# Cookies come and go.
told("GET", "/cookie")
assert told("GET", "/").json()["headers"]["cookie"] == "seen=yes"

# A body with a length, one in chunks that gets a length, one beyond any buffer in memory, and none.
for size in (0, 1, 70_000, 3_000_000):
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert told("POST", "/", data=data).json()["sha256"] == sha(data), size
    seen = told("POST", "/", data=iter([data[: size // 2], data[size // 2 :]])).json()
    assert (seen["sha256"], int(seen["content_length"] or 0)) == (sha(data), size), seen

# Answers with a length, without one, and without a body.
assert len(told("GET", "/big").content) == 1024 * 1024
assert told("GET", "/chunks").text.splitlines()[-1] == "piece 99"
head = told("HEAD", "/big")
assert head.content == b"" and head.headers["Content-Length"] == str(1024 * 1024)

# Every method that an API needs.
for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
    assert told(method, "/", data=b"abc").json()["method"] == method

# Files: whole, in part, and not again when nothing has changed.
file = told("GET", "/static/file.css")
assert file.text.startswith("body {") and len(file.content) == 4096
part = session.get(BASE + "/static/file.css", headers={"Range": "bytes=5-8"}, timeout=20)
assert (part.status_code, part.text, part.headers["Content-Range"]) == (206, "{ co", "bytes 5-8/4096")
same = session.get(BASE + "/static/file.css", headers={"If-None-Match": file.headers["ETag"]}, timeout=20)
assert (same.status_code, same.content) == (304, b"")
for bad in ("/static/none.css", "/static/", "/static/.hidden"):
    assert session.get(BASE + bad, timeout=20).status_code in (403, 404), bad

print("ok")

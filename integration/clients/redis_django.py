"""A Django cache on django-redis, as a web worker uses it; argv: the URL, the file for the result. Ends at SIGTERM."""

import json
import signal
import sys
import time

from django.conf import settings

URL, RESULT = sys.argv[1:]
settings.configure(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL}})

from django.core.cache import cache  # noqa: E402

running = True


def stop(*_):
    global running
    running = False


def turn(number):
    """One page of a shop: what was read must be what was written, unless it is gone altogether."""
    key, value = f"page-{number % 50}", {"number": number, "seats": list(range(5))}
    cache.set(key, value, 300)
    expect(cache.get(key), value)
    cache.add("visits", 0, None)
    cache.incr("visits")
    cache.set_many({f"{key}-a": number, f"{key}-b": number + 1}, 300)
    expect(cache.get_many([f"{key}-a", f"{key}-b"]), {f"{key}-a": number, f"{key}-b": number + 1})
    with cache.lock("cart", timeout=10, blocking_timeout=60):
        cache.touch(key, 600)
    cache.delete(f"{key}-b")


def expect(got, wanted):
    if got != wanted:
        wrong.append(f"{got} instead of {wanted}")


signal.signal(signal.SIGTERM, stop)
turns, errors, wrong, slowest = 0, [], [], 0.0
print("ready", flush=True)
while running:
    asked = time.monotonic()
    try:
        turn(turns)
    except Exception as error:  # whatever a shop would show as an error page
        errors.append(f"{type(error).__name__}: {error}")
    slowest = max(slowest, time.monotonic() - asked)
    turns += 1
    time.sleep(0.02)
with open(RESULT, "w") as file:
    json.dump({"turns": turns, "errors": errors, "wrong": wrong, "slowest_ms": slowest * 1e3}, file)

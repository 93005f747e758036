"""Sends Celery tasks; argv: how many at most, how many a second, the file for the result. Ends at SIGTERM."""

import json
import signal
import sys
import time

from redis_tasks import note

COUNT, RATE, RESULT = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)
sent, errors, slowest = [], [], 0.0
begun = time.monotonic()
print("ready", flush=True)
for number in range(COUNT):
    if not running:
        break
    time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
    asked, at = time.monotonic(), time.time()
    try:
        note.delay(number)
        sent.append((number, at))
    except Exception as error:  # whatever a shop would show as an error page
        errors.append(f"{type(error).__name__}: {error}")
    slowest = max(slowest, time.monotonic() - asked)
with open(RESULT, "w") as file:
    json.dump({"sent": sent, "errors": errors, "slowest_ms": slowest * 1e3}, file)

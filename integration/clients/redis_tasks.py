"""A Celery application whose broker and results are at STACK_REDIS (a URL without a database). Each task notes its
number and the time in the file STACK_DONE, so that what was done is known without asking Redis."""

import os
import time

from celery import Celery

REDIS = os.environ["STACK_REDIS"]
DONE = os.open(os.environ["STACK_DONE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

app = Celery("redis_tasks", broker=f"{REDIS}/2", backend=f"{REDIS}/1")
app.conf.update(broker_connection_retry_on_startup=True, result_expires=600, worker_hijack_root_logger=False)


@app.task
def note(number):
    os.write(DONE, f"{number} {time.time():.6f}\n".encode())
    return number

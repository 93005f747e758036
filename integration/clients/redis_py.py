"""redis-py as applications use it; argv: the URL, the version of the protocol."""

import random
import socket
import sys
import threading

import redis
from redis.connection import parse_url

URL, PROTOCOL = sys.argv[1], int(sys.argv[2])


def client(**options):
    return redis.Redis.from_url(URL, protocol=PROTOCOL, decode_responses=True, **options)


r = client(client_name="shop")
assert r.ping()
assert r.client_getname() == "shop"
assert r.execute_command("ACL", "WHOAMI") == "app"

# Pipelines, with and without a transaction, in order.
r.delete("list", "counter", "hash", "only", "mixed")
with r.pipeline(transaction=False) as pipe:
    for i in range(500):
        pipe.rpush("list", i).lrange("list", -1, -1)
    replies = pipe.execute()
assert replies[1::2] == [[str(i)] for i in range(500)], replies[:4]
with r.pipeline() as pipe:
    pipe.hset("hash", mapping={"a": 1, "b": 2}).hgetall("hash").incr("counter")
    assert pipe.execute() == [2, {"a": "1", "b": "2"}, 1]


# Check and set: only an attempt that nobody disturbed succeeds.
def check_and_set(pipe):
    value = int(pipe.get("counter"))
    pipe.multi()
    pipe.set("counter", value + 1)


threads = [threading.Thread(target=lambda: client().transaction(check_and_set, "counter")) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert r.get("counter") == "9", r.get("counter")

# Blocking, while others go on.
waiter = threading.Thread(target=lambda: got.append(client().blpop("mail", 10)))
got = []
waiter.start()
assert all(r.ping() for _ in range(100))
r.lpush("mail", "letter")
waiter.join()
assert list(got[0]) == ["mail", "letter"], got

# Publish and subscribe, with patterns.
listener = client().pubsub()
listener.subscribe("news")
listener.psubscribe("wea*")
assert [listener.get_message(timeout=5)["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
assert r.publish("news", "one") == 1 and r.publish("weather", "two") == 1
assert [listener.get_message(timeout=5)["data"] for _ in range(2)] == ["one", "two"]
listener.close()

# Scripts, locks, databases, large values, errors that are no end.
assert r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")(keys=["counter"], args=[10]) == 19
with r.lock("lock", timeout=5):
    assert not client().lock("lock", timeout=5, blocking=False).acquire()
other = redis.Redis.from_url(URL.replace("/0", "/5"), protocol=PROTOCOL, decode_responses=True)
other.set("only", "here")
assert r.get("only") is None and other.get("only") == "here"
big = random.Random(7).randbytes(4 << 20).hex()
r.set("big", big)
assert r.get("big") == big
r.rpush("mixed", big, "small", "", big[::-1], *"ab")
assert r.lrange("mixed", 0, -1) == [big, "small", "", big[::-1], "a", "b"]
# One that takes a large value in small bites gets all of it, in order, and what it asked behind that.
way = parse_url(URL)
with socket.socket() as slow:
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((way["host"], way["port"]))
    slow.sendall("AUTH {username} {password}\r\nGET big\r\nGET big\r\nPING\r\n".format(**way).encode())
    expected = b"+OK\r\n" + 2 * (b"$%d\r\n%b\r\n" % (len(big), big.encode())) + b"+PONG\r\n"
    heard = bytearray()
    while len(heard) < len(expected) and (bite := slow.recv(10_000)):
        heard += bite
    assert heard == expected, f"{len(heard)} bytes of {len(expected)}"
# A pipeline says all of it before it reads anything, however much comes back.
with r.pipeline(transaction=False) as pipe:
    for _ in range(40):
        pipe.set("megabyte", big[: 1 << 20]).get("megabyte")
    assert pipe.execute() == [True, big[: 1 << 20]] * 40
try:
    r.incr("big")
except redis.ResponseError as error:
    assert "not an integer" in str(error), error
else:
    raise AssertionError("a text was incremented")
assert sorted(r.scan_iter(match="co*")) == ["counter"]
try:
    redis.Redis.from_url(URL.replace("apppw", "wrong"), protocol=PROTOCOL).ping()
except redis.AuthenticationError:
    pass
else:
    raise AssertionError("a wrong password was taken")

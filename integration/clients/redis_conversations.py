"""What clients say to Redis that a router which shares connections could get wrong. Each conversation is the same with
Redis itself. Arguments: a URL, and the names of conversations if not all are wanted."""

import socket
import sys
import threading
import time
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

URL = urlsplit(sys.argv[1])
WAIT = 5
CONVERSATIONS = []


def conversation(talk):
    CONVERSATIONS.append(talk)
    return talk


def client(resp, **options):
    who = {"username": URL.username, "password": URL.password}
    # The library would try a refused login ten times, and hide a lost connection.
    plain = {"protocol": resp, "decode_responses": True, "socket_timeout": 15, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(URL.hostname, URL.port, **(plain | who | options))


def refused(error, call, *args, **options):
    try:
        call(*args, **options)
    except error as e:
        return str(e)
    raise AssertionError(f"{call} {args} went through")


def eventually(look):
    deadline = time.monotonic() + WAIT
    while not (seen := look()):
        assert time.monotonic() < deadline, look
        time.sleep(0.01)
    return seen


class Wire:
    """A client without a library."""

    def __init__(self, resp):
        self.socket = socket.create_connection((URL.hostname, URL.port), WAIT)
        self.lines = self.socket.makefile("rb")
        self.ask("HELLO", resp, "AUTH", URL.username, URL.password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, *words):
        request = "".join(f"${len(str(word))}\r\n{word}\r\n" for word in words)
        self.socket.sendall(f"*{len(words)}\r\n{request}".encode())
        return self.hear()

    def hear(self):
        line = self.lines.readline().decode().removesuffix("\r\n")
        kind, rest = line[0], line[1:]
        if kind == "$":
            return None if rest == "-1" else self.lines.read(int(rest) + 2)[:-2].decode()
        if kind in "*>%":
            return [self.hear() for _ in range(int(rest) * (1 + (kind == "%")))]
        return int(rest) if kind == ":" else rest


@conversation
def a_pipeline_is_answered_in_order(resp):
    with client(resp) as r:
        pipe = r.pipeline(transaction=False)
        for n in range(2000):
            pipe.set(f"p{n % 7}", n).get(f"p{n % 7}")
        assert pipe.execute() == [x for n in range(2000) for x in (True, str(n))]
        pipe.set("word", "x").incr("word").get("word")
        _, failure, word = pipe.execute(raise_on_error=False)
        assert isinstance(failure, redis.ResponseError) and word == "x"


@conversation
def a_transaction_is_one(resp):
    with client(resp) as r:
        assert r.pipeline().set("t", 1).incr("t").execute() == [True, 2]
        pipe = r.pipeline().set("t", 5).lpush("t", "no").incr("t")
        assert isinstance(pipe.execute(raise_on_error=False)[1], redis.ResponseError)
        assert r.get("t") == "6"
        refused(redis.ResponseError, r.execute_command, "EXEC")
        refused(redis.ResponseError, r.execute_command, "DISCARD")


@conversation
def a_watched_key_that_changes_aborts(resp):
    with client(resp) as r, client(resp) as other:
        pipe = r.pipeline()
        pipe.watch("w")
        other.set("w", "theirs")
        pipe.multi()
        pipe.set("w", "ours")
        refused(redis.WatchError, pipe.execute)
        pipe.watch("w")
        assert pipe.get("w") == "theirs"
        pipe.multi()
        pipe.set("w", "ours")
        assert pipe.execute() == [True] and other.get("w") == "ours"


@conversation
def subscribers_hear_what_is_published(resp):
    with client(resp) as r:
        p = r.pubsub()
        p.subscribe("news")
        p.psubscribe("n*")
        assert [p.get_message(timeout=WAIT)["type"] for _ in "ab"] == ["subscribe", "psubscribe"]
        assert r.publish("news", "hello") == 2
        heard = [p.get_message(timeout=WAIT) for _ in "ab"]
        assert [(m["type"], m["data"]) for m in heard] == [("message", "hello"), ("pmessage", "hello")]
        if resp == 2:  # in RESP3 the reply is no message
            p.ping("still here")
            assert p.get_message(timeout=WAIT)["data"] == "still here"
        p.unsubscribe()
        p.punsubscribe()
        assert [p.get_message(timeout=WAIT)["type"] for _ in "ab"] == ["unsubscribe", "punsubscribe"]
        assert r.publish("news", "nobody") == 0
        p.close()


@conversation
def who_blocks_stops_nobody_else(resp):
    with client(resp) as r:
        heard = {}

        def wait(n):
            with client(resp) as mine:
                heard[n] = mine.blpop(f"queue{n}", timeout=WAIT)

        waiting = [threading.Thread(target=wait, args=(n,)) for n in range(20)]
        for thread in waiting:
            thread.start()
        for n in range(20):
            r.rpush(f"queue{n}", n)
        for thread in waiting:
            thread.join()
        assert heard == {n: ((f"queue{n}", str(n)) if resp == 2 else [f"queue{n}", str(n)]) for n in range(20)}
        assert r.blpop("nothing", timeout=0.05) is None
        assert r.blmove("nothing", "elsewhere", timeout=0.05) is None
        assert r.get("nothing") is None


@conversation
def values_of_any_size_pass(resp):
    with client(resp) as r, client(resp) as small:
        big = "0123456789abcdef" * (5 << 16)  # 5 MiB
        assert r.set("big", big) and small.set("small", "s")
        assert r.get("big") == big and small.get("small") == "s"
        pipe = r.pipeline(transaction=False)
        for n in range(20):
            pipe.set(f"big{n}", big[: n << 14]).get(f"big{n}")
        answers = pipe.execute()
        assert all(answers[2 * n + 1] == big[: n << 14] for n in range(20))
        r.rpush("list", *range(20_000))
        assert r.lrange("list", 0, -1) == [str(n) for n in range(20_000)]
        r.delete("big", "list", *(f"big{n}" for n in range(20)))


@conversation
def scripts_and_functions_run(resp):
    with client(resp) as r:
        assert r.eval("return {KEYS[1], ARGV[1], 7}", 1, "k", "a") == ["k", "a", 7]
        refused(redis.exceptions.NoScriptError, r.evalsha, "f" * 40, 0)
        script = r.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
        r.delete("counter")
        assert [script(keys=["counter"], args=[5]) for _ in "ab"] == [5, 10]
        assert r.script_exists(script.sha) == [True]
        library = "#!lua name=lib\nredis.register_function('double', function(k, a) return a[1] * 2 end)"
        assert r.function_load(library, replace=True) == "lib"
        assert r.fcall("double", 0, 21) == 42
        r.function_delete("lib")


@conversation
def each_client_has_its_own_database(resp):
    with client(resp) as first, client(resp, db=1) as second:
        first.set("where", 0)
        second.set("where", 1)
        assert (first.get("where"), second.get("where")) == ("0", "1")
        with client(resp, single_connection_client=True) as r:
            for db in (1, 0, 1):
                r.execute_command("SELECT", db)
                assert r.get("where") == str(db)
                assert r.client_info()["db"] == db
            refused(redis.ResponseError, r.execute_command, "SELECT", 5000)
            assert r.get("where") == "1"
        second.flushdb()
        assert first.get("where") == "0"


@conversation
def each_client_is_who_it_says(resp):
    with client(resp) as admin:
        rules = {"enabled": True, "passwords": "+pw", "keys": ["mine:*"], "categories": ["+@all", "-@dangerous"]}
        admin.acl_setuser("guest", reset=True, **rules)
        guest = client(resp, username="guest", password="pw")
        assert guest.acl_whoami() == "guest" and guest.set("mine:x", 1)
        refused(redis.exceptions.NoPermissionError, guest.get, "theirs")
        refused(redis.exceptions.NoPermissionError, guest.flushall)
        assert admin.set("theirs", 1) and admin.acl_whoami() != "guest"
        wrong = client(resp, username="guest", password="no")
        refused(redis.exceptions.AuthenticationError, wrong.ping)
        guest.close()
        admin.acl_deluser("guest")
        gone = client(resp, username="guest", password="pw")
        refused(redis.exceptions.AuthenticationError, gone.ping)


@conversation
def clients_have_names_and_numbers(resp):
    one, two = (client(resp, single_connection_client=True, client_name=name) for name in ("one", "two"))
    ids = one.client_id(), two.client_id()
    assert ids[0] != ids[1] and one.client_id() == ids[0]
    assert (one.client_getname(), two.client_getname()) == ("one", "two")
    assert one.client_info()["name"] == "one" and int(one.client_info()["id"]) == ids[0]
    assert {"one", "two"} <= {entry["name"] for entry in one.client_list()}
    assert one.client_kill_filter(_id=ids[1]) == 1
    eventually(lambda: all(entry["name"] != "two" for entry in one.client_list()))
    one.client_setname("")
    assert not one.client_getname() and one.client_id() == ids[0]
    one.close()
    two.close()


@conversation
def a_monitor_sees_what_others_do(resp):
    with client(resp) as r, client(resp).monitor() as monitor:
        r.set("seen", "by the monitor")
        for _ in range(100):
            if "by the monitor" in monitor.next_command()["command"]:
                return
        raise AssertionError("it was not seen")


@conversation
def a_cache_is_told_what_changed(resp):
    with client(resp) as writer, Wire(resp) as reader, Wire(2) as listener:
        writer.set("cached", "old")
        redirect = []
        if resp == 2:
            redirect = ["REDIRECT", listener.ask("CLIENT", "ID")]
            listener.ask("SUBSCRIBE", "__redis__:invalidate")
        assert reader.ask("CLIENT", "TRACKING", "ON", *redirect) == "OK"
        assert reader.ask("GET", "cached") == "old"
        writer.set("cached", "new")
        if resp == 2:
            assert listener.hear() == ["message", "__redis__:invalidate", ["cached"]]
        else:
            assert reader.hear() == ["invalidate", ["cached"]]
        assert reader.ask("GET", "cached") == "new"
        assert reader.ask("CLIENT", "TRACKING", "OFF") == "OK"


@conversation
def a_stream_is_read_by_a_group(resp):
    with client(resp) as r:
        r.delete("stream")
        r.xgroup_create("stream", "group", mkstream=True)
        heard = []

        def consume():
            with client(resp) as mine:
                heard.append(mine.xreadgroup("group", "me", {"stream": ">"}, block=WAIT * 1000))

        thread = threading.Thread(target=consume)
        thread.start()
        entry = r.xadd("stream", {"a": "b"})
        thread.join()
        assert entry in str(heard[0])
        assert r.xpending("stream", "group")["pending"] == 1
        assert r.xack("stream", "group", entry) == 1
        assert r.xread({"stream": "$"}, block=50) in ([], {})
        assert r.xlen("stream") == 1


@conversation
def replies_reach_who_asked(resp):
    """Many at once, on few connections: each reads what it wrote, in its order."""

    def talk(n):
        with client(resp) as r:
            for i in range(100):
                pipe = r.pipeline(transaction=i % 2 == 0)
                answers = pipe.set(f"own{n}", f"{n}-{i}").get(f"own{n}").echo(f"{n}:{i}").execute()
                assert answers == [True, f"{n}-{i}", f"{n}:{i}"], answers

    failures = []

    def guarded(n):
        try:
            talk(n)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@conversation
def telnet_is_understood(resp):
    if resp == 3:
        return
    with socket.create_connection((URL.hostname, URL.port), WAIT) as s:
        lines = s.makefile("rb")

        def ask(text, *answer):
            s.sendall(text.encode())
            heard = [lines.readline() for _ in answer]
            assert heard == [line.encode() + b"\r\n" for line in answer], heard

        ask(f"AUTH {URL.username} {URL.password}\r\n", "+OK")
        ask("SET inline 'a \"b\"'\r\nGET inline\r\n\r\nPING\r\n", "+OK", "$5", 'a "b"', "+PONG")
        ask("MULTI\nPING\nEXEC\n", "+OK", "+QUEUED", "*1", "+PONG")
        ask("CLIENT REPLY SKIP\r\nPING\r\nECHO heard\r\n", "$5", "heard")
        ask("RESET\r\nGET inline\r\n", "+RESET", "-NOAUTH Authentication required.")
        ask("QUIT\r\n", "+OK")
        assert lines.read() == b""


for talk in CONVERSATIONS:
    if sys.argv[2:] and talk.__name__ not in sys.argv[2:]:
        continue
    for resp in (2, 3):
        began = time.monotonic()
        try:
            talk(resp)
        except BaseException as e:
            raise AssertionError(f"{talk.__name__} in RESP{resp}") from e
        print(f"{talk.__name__} RESP{resp}: {time.monotonic() - began:.2f} s")

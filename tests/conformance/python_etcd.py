"""python_etcd.py HOST:PORT[,HOST:PORT...]: uses all that python-etcd offers against a running cluster."""
import sys
import threading
import time

import etcd

hosts = tuple((h, int(p)) for h, p in (host.split(":") for host in sys.argv[1].split(",")))
client = etcd.Client(host=hosts, allow_reconnect=True, read_timeout=60)


def raises(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error:
        return
    raise AssertionError("%s%r did not raise %s" % (call.__name__, args, error.__name__))


# Keys.
assert client.write("/p/a", "1").newKey
assert client.read("/p/a").value == "1"
assert client.get("/p/a").modifiedIndex == client.read("/p/a", quorum=True).modifiedIndex
raises(etcd.EtcdKeyNotFound, client.read, "/p/none")
raises(etcd.EtcdAlreadyExist, client.write, "/p/a", "2", prevExist=False)
node = client.read("/p/a")
node.value = "2"
client.update(node)
assert client.read("/p/a").value == "2"

# Compare and swap, compare and delete.
client.write("/p/a", "3", prevValue="2")
raises(etcd.EtcdCompareFailed, client.write, "/p/a", "4", prevValue="2")
client.test_and_set("/p/a", "4", "3")
raises(etcd.EtcdCompareFailed, client.delete, "/p/a", prevValue="3")
client.delete("/p/a", prevValue="4")
raises(etcd.EtcdKeyNotFound, client.read, "/p/a")

# Directories and in-order keys.
client.write("/q", None, dir=True)
for value in ("x", "y", "z"):
    client.write("/q", value, append=True)
assert [child.value for child in client.read("/q", recursive=True, sorted=True).children] == ["x", "y", "z"]
raises(etcd.EtcdNotFile, client.write, "/q", "file")
raises(etcd.EtcdDirNotEmpty, client.delete, "/q", dir=True)
client.delete("/q", recursive=True)
assert client.pop(client.write("/p/pop", "1").key).value == "1"

# TTL.
assert client.write("/t", "1", ttl=1).ttl == 1
client.refresh("/t", ttl=1)
deadline = time.monotonic() + 60
while True:
    try:
        client.read("/t")
    except etcd.EtcdKeyNotFound:
        break
    assert time.monotonic() < deadline, "a key outlives its ttl"

# Watches: from an index in the past, live, and as a generator.
index = client.write("/w/1", "a").modifiedIndex
assert client.watch("/w", index=index, recursive=True).value == "a"
seen = []
watching = threading.Thread(target=lambda: seen.append(client.watch("/w", index=index + 1, recursive=True, timeout=60)))
watching.start()
client.write("/w/2", "b")
watching.join()
assert seen[0].key == "/w/2" and seen[0].action == "set"
events = client.eternal_watch("/w", index=index, recursive=True)
assert [next(events).value for _ in range(2)] == ["a", "b"]

# Locks: one holder at a time, handed on at release.
first = etcd.Lock(client, "lock")
second = etcd.Lock(etcd.Client(host=hosts, allow_reconnect=True, read_timeout=60), "lock")
assert first.acquire(blocking=True, lock_ttl=60) and first.is_acquired
assert not second.acquire(blocking=False, lock_ttl=60)
order = []
waiting = threading.Thread(target=lambda: (second.acquire(blocking=True, lock_ttl=60), order.append("second")))
waiting.start()
order.append("first")
first.release()
waiting.join()
assert order == ["first", "second"] and second.is_acquired
second.release()

# A leader by hand, as the library's own election module speaks to an extension that etcd 2 does not have.
client.write("/leader", "me", prevExist=False, ttl=60)
raises(etcd.EtcdAlreadyExist, client.write, "/leader", "you", prevExist=False, ttl=60)
client.delete("/leader", prevValue="me")
client.write("/leader", "you", prevExist=False, ttl=60)

# The cluster.
assert len(client.machines) == len(hosts)
assert len(client.members) == len(hosts)
assert client.leader["name"].startswith("m")
assert client.stats["state"] in ("StateLeader", "StateFollower")
assert client.store_stats["setsSuccess"] > 0

"""ops/redis-users.acl: what a part must not do is refused, and ops/redis-users.sh hands out no password."""

from __future__ import annotations

import hashlib

import pytest
import redis
from redis.exceptions import NoPermissionError

from jobs.errors import StoreForbidden
from jobs.server import connect
from jobs.settings import Settings
from producer import Producer
from tests.integration.redis_users import ADMIN, PARTS, GuardedServer, password, passwords, print_users


def commands(text: str) -> tuple[str, ...]:
    """One a line, or several with semicolons."""
    return tuple(word.strip() for word in text.replace(";", "\n").splitlines() if word.strip())


# What the person who runs Redis does, and nobody else.
OF_THE_ADMIN = commands("""
    FLUSHALL; FLUSHDB; CONFIG GET *; CONFIG SET maxmemory 1; CONFIG REWRITE; SHUTDOWN; ACL LIST; ACL GETUSER worker
    ACL SETUSER worker nopass; ACL LOG; MONITOR; SAVE; BGREWRITEAOF; KEYS *; SCAN 0; RANDOMKEY; DBSIZE; INFO
    CLIENT LIST; CLIENT KILL TYPE normal; CLIENT PAUSE 1; CLIENT TRACKING ON BCAST; SCRIPT FLUSH; SCRIPT KILL
    FUNCTION FLUSH; FUNCTION LOAD x; REPLICAOF NO ONE; MODULE LIST; SLOWLOG GET; LATENCY RESET; SWAPDB 0 1; SELECT 1
    MIGRATE h 1 k 0 1; FAILOVER
    CLUSTER INFO; EVAL return(1) 0; EVAL_RO return(1) 0; FCALL f 0; SUBSCRIBE other; PSUBSCRIBE *; PUBLISH other x
    GET other; SET other x; SET blendq:other x; UNLINK blendq:tasks; DEL blendq:tasks; DEL blendq:pictures
    RENAME blendq:job:j blendq:job:k; DUMP blendq:job:j; RESTORE blendq:job:j 0 x; COPY blendq:job:j blendq:job:k
    EXPIRE blendq:job:j 1; HDEL blendq:job:j doc; HGETALL blendq:job:j; HGETALL blendq:tasks
    HGETALL blendq:pictures; HKEYS blendq:pictures; HSCAN blendq:pictures 0; SMEMBERS blendq:slots
    TYPE blendq:job:j; OBJECT ENCODING blendq:job:j; SORT blendq:slots; LRANGE blendq:celery:control 0 -1
""")
# Of those who may forget jobs: producers, and workers (BLENDQ_KEEP_FINISHED_DAYS).
OF_A_PURGE = commands("""
    DEL blendq:job:j; DEL blendq:history:j; HDEL blendq:tasks t; HDEL blendq:pictures d; ZREM blendq:campaigns c
    DEL blendq:campaign:c:counts; DEL blendq:campaign:c:turn
""")
# What the worker does with records and messages, and nobody else.
OF_THE_WORKER = commands("""
    SET blendq:upstream:b:flow x; SET blendq:upstream:b:pause x; INCRBY blendq:upstream:b:no_accounts 1
    SET blendq:stopped x
    HSET blendq:pictures d j; ZRANGEBYSCORE blendq:at:running 0 1; SET blendq:flow x
    LPUSH blendq:flow:moves x; HINCRBY blendq:answers accepted 1
    ZRANGE blendq:campaign:c:ready 0 -1; SMEMBERS blendq:contenders; SREM blendq:contenders c; SET blendq:pause x
    SET blendq:suspect x; INCRBY blendq:no_accounts 1
    RPUSH blendq:errands:submit j; LPOP blendq:errands:collect; LPOS blendq:errands:collect j
    SET blendq:campaign:c:turn 1
    LPUSH blendq:celery:submit x; BRPOP blendq:celery:control 1; HGET blendq:celery:unacked t
    ZRANGE blendq:celery:unacked_index 0 -1; PUBLISH blendq:celery:/0.celeryev/task x; DEL blendq:dispatch:asked
    PSUBSCRIBE blendq:celery:/0.celery.pidbox; HDEL blendq:notices n; SMEMBERS blendq:webhooks:lanes
    HGET blendq:notices n; HSET blendq:webhook:wh:tries n x; LPUSH blendq:webhook:wh:log x
""")
# Orders to the workers, and what they tell.
OF_ORDERS = commands("""
    PUBLISH blendq:celery:/0.celery.pidbox x; PSUBSCRIBE blendq:celery:/0.celeryev/*
""")
OF_A_PRODUCER = commands("""
    INCRBY blendq:order 1; ZADD blendq:campaigns 1 c; ZRANGE blendq:campaigns 0 -1; HGETALL blendq:counts
    ZRANGE blendq:campaign:c:jobs 0 -1; HGETALL blendq:campaign:c:counts; LRANGE blendq:history:j 0 -1
    HGET blendq:job:j doc; EXISTS blendq:job:j; GET blendq:pause; DEL blendq:pause; GET blendq:epoch
    SET blendq:campaign:c:plan x; GET blendq:campaign:c:pause; DEL blendq:campaign:c:pause; HGET blendq:pictures d
    HVALS blendq:webhooks; HGET blendq:webhooks wh; HSET blendq:webhooks wh x; ZADD blendq:webhook:wh:due 1 n
    ZRANGE blendq:notices:told 0 -1; LRANGE blendq:webhook:wh:log 0 -1; XRANGE blendq:changes - +
    SET blendq:epoch x; DEL blendq:epoch; EVALSHA {sha} 1 blendq:epoch; EVALSHA {sha} 1 blendq:campaigns
    SCARD blendq:slots; GET blendq:flow; LRANGE blendq:flow:moves 0 -1; HGETALL blendq:answers:1
""")
# Who may use the HTTP API is a producer's affair: nobody else can let himself in, nor shut others out.
OF_TOKENS = commands("""
    HGET blendq:tokens n; HGETALL blendq:tokens; HLEN blendq:tokens; HSETNX blendq:tokens n x; HDEL blendq:tokens n
""")
TICK = "LPUSH blendq:celery:control x"
OF_WHO_CHANGES_JOBS = commands("""
    HMGET blendq:job:j doc; HSET blendq:job:j doc x; RPUSH blendq:history:j x; HSET blendq:tasks t j
    SADD blendq:slots j; ZADD blendq:at:running 1 j; HINCRBY blendq:counts waiting 1; SET blendq:dispatch:asked 1
    EVALSHA {sha} 1 blendq:job:j; RPUSH blendq:errands:collect j; LPUSH blendq:celery:collect x
""")
REFUSED = {
    "worker": (*OF_THE_ADMIN, *OF_TOKENS, "DEL blendq:epoch", "PSUBSCRIBE blendq:celery:/0.celeryev/*"),
    "producer": (
        *OF_THE_ADMIN,
        *OF_THE_WORKER,
        *OF_ORDERS,
        "HSET blendq:tasks t j",
        "HSET blendq:tokens n x",
        "EVALSHA {sha} 1 other",
    ),
    "receiver": (
        *OF_THE_ADMIN,
        *OF_TOKENS,
        *OF_A_PURGE,
        *OF_THE_WORKER,
        *OF_ORDERS,
        *OF_A_PRODUCER,
        "EVALSHA {sha} 1 other",
    ),
    "beat": (*OF_THE_ADMIN, *OF_TOKENS, *OF_A_PURGE, *OF_THE_WORKER, *OF_ORDERS, *OF_A_PRODUCER, *OF_WHO_CHANGES_JOBS),
    "flower": (*OF_THE_ADMIN, *OF_TOKENS, *OF_A_PURGE, *OF_THE_WORKER, *OF_A_PRODUCER, *OF_WHO_CHANGES_JOBS, TICK),
}


@pytest.mark.no_cover
@pytest.mark.parametrize("user", PARTS)
def test_what_a_part_must_not_do_is_refused(guarded: GuardedServer, user: str) -> None:
    with guarded.client(ADMIN) as admin:
        sha = str(admin.script_load("return 1"))
    done = []
    for command in REFUSED[user]:
        with guarded.client(user) as client:  # of its own: some commands that are let through would keep the connection
            try:
                client.execute_command(*command.format(sha=sha).split(" "))
                done.append(command)
            except NoPermissionError:
                pass
            except redis.RedisError as error:
                done.append(f"{command}: {error}")
    assert done == []


@pytest.mark.parametrize(
    "script",
    [
        "return redis.call('KEYS', '*')",
        "return redis.call('FLUSHALL')",
        "return redis.call('HGETALL', KEYS[1])",
        "return redis.call('HGET', 'blendq:pictures', 'd')",
        "return redis.call('GET', 'blendq:epoch')",
        "return redis.call('LPUSH', 'blendq:celery:submit', 'x')",
        "return redis.call('PUBLISH', 'blendq:celery:/0.celery.pidbox', 'x')",
    ],
)
def test_a_script_of_the_receivers_can_do_no_more_than_the_receiver(guarded: GuardedServer, script: str) -> None:
    with guarded.client("receiver") as client:
        sha = client.script_load(script)
        with pytest.raises(redis.ResponseError, match=r"ACL|permission"):
            client.evalsha(sha, 1, "blendq:pictures")
    assert len(guarded.denied()) == 1


def test_nobody_is_let_in_without_a_password(guarded: GuardedServer) -> None:
    for url in ("", f"{ADMIN}:wrong@", "worker:wrong@", "stranger:x@", f"receiver:{password('worker')}@"):
        with connect(f"redis://{url}127.0.0.1:{guarded.port}/0") as client, pytest.raises(redis.AuthenticationError):
            client.ping()
    with pytest.raises(StoreForbidden, match="BLENDQ_REDIS_URL"):
        Producer(Settings(redis_url=f"redis://producer:wrong@127.0.0.1:{guarded.port}/0"))
    assert any("auth" in entry for entry in guarded.denied())


# The script that makes the users -------------------------------------------------------------------------------------


def test_the_users_are_printed_with_digests_and_no_password() -> None:
    printed = print_users(passwords())
    assert (printed.returncode, printed.stderr) == (0, "")
    lines = printed.stdout.splitlines()
    assert [line.split()[1] for line in lines] == [ADMIN, *PARTS]
    for user, line in zip((ADMIN, *PARTS), lines, strict=True):
        assert f" on #{hashlib.sha256(password(user).encode()).hexdigest()} " in line
    assert "Password1" not in printed.stdout


@pytest.mark.parametrize("name", sorted(passwords()))
@pytest.mark.parametrize("value", [None, "", "with space", 'quo"te', "semi;colon", "line\nbreak", "päss"])
def test_a_missing_or_odd_password_is_refused_and_not_shown(name: str, value: str | None) -> None:
    given = {key: word for key, word in passwords().items() if key != name}
    printed = print_users(given if value is None else {**given, name: value})
    assert printed.returncode == 1
    assert f"set {name} to letters and digits only" in printed.stderr
    assert not value or value not in printed.stderr

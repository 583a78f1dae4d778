"""The pure parts of the sandbox: faults, keys, ledger, accounts, options."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.sandbox import faults, spoils
from ops.sandbox.accounts import Accounts
from ops.sandbox.faults import DEFAULTS, Chance, Faults
from ops.sandbox.journal import Journal
from ops.sandbox.ledger import Ledger, token_of
from ops.sandbox.options import parse
from ops.sandbox.personalities import PERSONALITIES, Auth, Call, Name, key_is_right
from ops.sandbox.pictures import PictureSpec
from ops.sandbox.tasks import Status, Task, TaskMemory


def a_task(number: int) -> Task:
    spec = PictureSpec((f"{number:064x}", "b" * 64), "SQUARE")
    return Task(id=str(1000 + number), serial=number, action="BLEND", description="", picture=spec)


class TestFaults:
    def test_merging_keeps_the_others(self) -> None:
        faults = Faults(banned=True).merged({"drop_callbacks": 0.5, "expire_links": "once"})
        assert faults == Faults(banned=True, drop_callbacks=0.5, expire_links="once")

    @pytest.mark.parametrize(
        "changes",
        [
            {"no_such_fault": True},
            {"drop_callbacks": 1.5},
            {"drop_callbacks": -0.1},
            {"drop_callbacks": True},
            {"drop_callbacks": "1"},
            {"repeat_callbacks": 1.5},
            {"banned": 1},
            {"expire_links": "twice"},
            {"spoil_pictures": "rotten"},
            {"spoil_for_good": True},
            {"hang_seconds": float("nan")},
        ],
    )
    def test_nonsense_is_refused(self, changes: dict[str, object]) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - its words are free
            Faults().merged(changes)

    def test_every_spoil_has_a_way_to_be_made(self) -> None:
        assert set(faults.SPOILS) == set(spoils.SPOILS)

    def test_every_default_is_no_fault(self) -> None:
        assert not any(DEFAULTS.values())

    def test_chance_is_repeatable_and_keeps_to_its_share(self) -> None:
        drawn = [[Chance(7).strikes(share) for _ in range(1)] for share in (0.0, 1.0)]
        assert drawn == [[False], [True]]
        first, second = Chance(3), Chance(3)
        assert [first.strikes(0.5) for _ in range(50)] == [second.strikes(0.5) for _ in range(50)]


@pytest.mark.parametrize(
    ("auth", "secret", "authorization", "right"),
    [
        (Auth.SECRET, "k", None, True),
        (Auth.SECRET, None, "Bearer k", False),
        (Auth.SECRET_OR_BEARER, "k", None, True),
        (Auth.SECRET_OR_BEARER, None, "Bearer k", True),
        (Auth.SECRET_OR_BEARER, None, None, False),
        (Auth.RAW_AUTHORIZATION_FIRST, "k", None, True),
        (Auth.RAW_AUTHORIZATION_FIRST, "k", "Bearer k", False),
        (Auth.RAW_AUTHORIZATION_FIRST, None, "k", True),
        (Auth.BEARER_FIRST, "k", None, True),
        (Auth.BEARER_FIRST, "k", "Bearer other", False),
        (Auth.BEARER_FIRST, "other", "Bearer k", True),
    ],
)
def test_where_each_family_looks_for_the_key(
    auth: Auth, secret: str | None, authorization: str | None, right: bool
) -> None:
    assert key_is_right(auth, "k", secret, authorization) is right
    assert key_is_right(auth, None, secret, authorization)


def test_every_family_can_fetch_and_only_some_can_query() -> None:
    assert all(Call.FETCH in personality.calls for personality in PERSONALITIES.values())
    assert {name for name, personality in PERSONALITIES.items() if Call.QUERY in personality.calls} == {
        Name.PLUS,
        Name.AGAIN,
    }


class TestLedger:
    @pytest.mark.parametrize(
        ("hook", "state", "token"),
        [
            ("http://host:1/base/hooks/job1/2/mac", None, "job1/2"),
            ("http://host:1/hooks/job1/2/mac?x=1", "other/9/mac", "job1/2"),
            ("http://host:1/elsewhere", "job1/2/mac", "job1/2"),
            (None, "job1/2/mac and more / of it", "job1/2"),
            (None, "no token here", None),
            (None, "a/b", None),
            (None, None, None),
        ],
    )
    def test_token(self, hook: str | None, state: str | None, token: str | None) -> None:
        assert token_of(hook, state) == token

    @given(st.text(), st.text())
    def test_any_hook_and_state_are_survived(self, path: str, state: str) -> None:
        token_of(f"http://host/{path}", state)

    def test_it_remembers(self, tmp_path: Path) -> None:
        first = Ledger(tmp_path / "ledger.jsonl")
        first.accept(task_id="1", state=None, notify_hook="http://h/hooks/a/1/m", inputs=["x"])
        first.answer("22")
        first.incomplete_body()
        told = first.as_json()
        first.close()
        again = Ledger(tmp_path / "ledger.jsonl")
        assert again.as_json() == told
        assert (told["answers"], told["incomplete_bodies"], len(again)) == ({"22": 1}, 1, 1)
        assert told["accepted"][0]["token"] == "a/1"
        again.close()


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"a":1}\n{"torn":')
    journal = Journal(path)
    journal.append({"b": 2})
    assert list(journal.entries()) == [{"a": 1}, {"b": 2}]
    journal.close()


class TestAccounts:
    def test_cores_then_queue_then_full(self) -> None:
        accounts = Accounts(1, core_size=1, queue_size=2)
        account = accounts.choose(None)
        assert account is not None
        assert [account.take(a_task(n)) for n in range(3)] == [0, 1, 2]
        assert account.is_full

    def test_only_the_named_account_is_chosen(self) -> None:
        accounts = Accounts(3, 1, 1)
        last = [account.instance_id for account in accounts][-1]
        chosen = accounts.choose(last)
        assert chosen is not None
        assert chosen.instance_id == last
        assert accounts.choose("nobody") is None
        assert Accounts(0, 1, 1).choose(None) is None

    def test_room_is_found_where_it_is(self) -> None:
        accounts = Accounts(2, 1, 5)
        taken = []
        for number in range(2):
            account = accounts.choose(None)
            assert account is not None
            account.take(a_task(number))
            taken.append(account.instance_id)
        assert len(set(taken)) == 2

    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 3)), max_size=6))
    def test_resizing_loses_no_task(self, sizes: list[tuple[int, int, int]]) -> None:
        accounts = Accounts(2, 1, 9)
        tasks = [a_task(number) for number in range(6)]
        for task in tasks:
            account = accounts.choose(None)
            assert account is not None
            account.take(task)
        for count, core, queue in sizes:
            accounts.resize(count, core, queue)
            assert all(accounts.holding(task) for task in tasks)


class TestTaskMemory:
    def test_a_restart_remembers_unless_told_to_forget(self, tmp_path: Path) -> None:
        memory = TaskMemory(tmp_path / "tasks.jsonl", forget=False)
        task = a_task(1)
        memory.save(task)
        task.status = Status.SUCCESS
        memory.save(task)
        memory.close()
        again = TaskMemory(tmp_path / "tasks.jsonl", forget=False)
        remembered = again.get(task.id)
        assert remembered is not None
        assert remembered.status is Status.SUCCESS
        assert remembered.picture == task.picture
        again.close()
        blank = TaskMemory(tmp_path / "tasks.jsonl", forget=True)
        assert len(blank) == 0
        blank.close()


class TestOptions:
    def test_everything_can_be_said(self, tmp_path: Path) -> None:
        options = parse(
            [
                *("--port", "0", "--personality", "plus", "--speed", "10", "--task-seconds", "1", "2"),
                *("--data-dir", str(tmp_path), "--drop-callbacks", "0.5", "--repeat-callbacks", "2"),
                *("--expire-links", "once", "--banned"),
            ]
        )
        assert options.personality is Name.PLUS
        assert options.real_task_seconds == (0.1, 0.2)
        assert options.faults == Faults(drop_callbacks=0.5, repeat_callbacks=2, expire_links="once", banned=True)

    def test_every_fault_has_a_flag(self) -> None:
        for name, default in DEFAULTS.items():
            flag = f"--{name.replace('_', '-')}"
            value = {bool: [], str: ["html"]}.get(type(default), ["1"])
            assert getattr(parse([flag, *value]).faults, name)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--speed", "0"],
            ["--port", "99999"],
            ["--task-seconds", "5", "1"],
            ["--core-size", "0"],
            ["--drop-callbacks", "2"],
            ["--personality", "unheard-of"],
        ],
    )
    def test_nonsense_is_refused_with_exit_code_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as left:
            parse(arguments)
        assert left.value.code == 2
        assert "error:" in capsys.readouterr().err

    def test_the_key_is_not_shown(self) -> None:
        assert "hush" not in repr(parse(["--api-key", "hush"]))


def test_a_task_survives_json() -> None:
    task = a_task(3)
    assert asdict(Task.from_json(json.loads(json.dumps(task.as_json())))) == asdict(task)

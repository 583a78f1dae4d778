"""The desk: takes submissions in, or refuses them, and says so in the family's words."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from starlette.responses import Response

from ops.sandbox import answers
from ops.sandbox.accounts import Account
from ops.sandbox.draft import Draft, draft_of
from ops.sandbox.personalities import Manner
from ops.sandbox.pictures import BadPicture
from ops.sandbox.replies import HangUp, Told, answered, server_error
from ops.sandbox.sandbox import Sandbox
from ops.sandbox.submission import Blend, Refused, Unreadable, read_blend
from ops.sandbox.tasks import Task, now_ms

NO_ACCOUNT = "无可用的账号实例"
QUEUE_FULL = "队列已满，请稍后尝试"
INTERNAL_ERROR = "提交失败，系统异常"
BANNED_WORD = "sandbox"
SATURATED = "当前分组负载已饱和，请稍后再试，或升级账户以提升服务质量。"


class Desk:
    def __init__(self, sandbox: Sandbox) -> None:
        self._box = sandbox
        self._said_again: Counter[str] = Counter()
        self._gateway_losses = 0

    async def blend(self, body: bytes) -> Told:
        """Take in a whole body of `POST /mj/submit/blend`."""
        if stopped := self.stopped_before():
            return stopped
        loop = asyncio.get_running_loop()
        try:
            blend = await loop.run_in_executor(self._box.workers, self._read, body)
        except Unreadable:
            return self.unreadable("/mj/submit/blend")
        except Refused as refusal:
            return answered(answers.refused(refusal))
        return await self.submit(draft_of(blend))

    def unreadable(self, path: str) -> Told:
        if self._box.personality.not_found is Manner.GATEWAY:
            return Told("4", answers.gateway_refusal(4, "bind_request_body_failed"))
        return Told("http 400", answers.error_page(self._box.personality.not_found, 400, path))

    def stopped_before(self) -> Told | None:
        """The faults that stop a submission before anybody reads it."""
        faults = self._box.faults
        if self._box.chance.strikes(faults.fail_5xx):
            return self._server_error()
        if faults.rate_limit:
            response: Response = answers.gateway_refusal(30, SATURATED)
            response.headers["Retry-After"] = "1"
            return Told("http 429", response)
        return None

    async def submit(self, draft: Draft) -> Told:
        """Accept the draft, or refuse it; and then, when a fault says so, spoil the answer."""
        if self._box.faults.quota or "quota" in draft.marks:
            return self._quota()
        try:
            account = self._account_for(draft)
        except Refused as refusal:
            return answered(answers.refused(refusal))
        if self._says_again(draft):
            return answered(self._again(draft, account))
        if (known := self._known_already(draft)) is not None:
            return self._existed(known)
        task, ahead = self._accept(draft, account)
        if self._box.faults.callback_before_answer:
            await asyncio.sleep(0)  # the task's first change comes first
            await self._box.notify(task)
        return self._spoiled() or self._accepted(task, ahead)

    def _read(self, body: bytes) -> Blend:
        blend = read_blend(body, drop_account_filter=self._box.personality.strips_options)
        for digest, content in zip(blend.inputs, blend.contents, strict=True):
            try:
                self._box.gallery.keep_input(digest, content)
            except BadPicture as error:
                raise Refused(answers.VALIDATION_ERROR, "base64格式错误") from error
        return blend

    def _account_for(self, draft: Draft) -> Account:
        faults, marks = self._box.faults, draft.marks
        account = self._box.accounts.choose(draft.instance_id)
        if account is None or faults.no_account or "noaccount" in marks:
            raise Refused(answers.NOT_FOUND, NO_ACCOUNT)
        if faults.banned or "banned" in marks:
            banned = {"promptEn": "", "bannedWord": BANNED_WORD}
            raise Refused(answers.BANNED_PROMPT, "可能包含敏感词", banned)
        if faults.internal_error or "error" in marks:
            raise Refused(answers.FAILURE, INTERNAL_ERROR, {"discordInstanceId": account.instance_id})
        if account.is_full or faults.queue_full or "full" in marks:
            raise Refused(answers.QUEUE_REJECTED, QUEUE_FULL, {"discordInstanceId": account.instance_id})
        return account

    def _says_again(self, draft: Draft) -> bool:
        if not self._box.personality.says_again:
            return False
        if self._said_again[draft.content_key] < self._box.options.again_times:
            self._said_again[draft.content_key] += 1
            return True
        del self._said_again[draft.content_key]
        return False

    def _again(self, draft: Draft, account: Account) -> dict[str, Any]:
        """Without an id first, then with one that names nothing, and so on by turns."""
        with_id = self._said_again[draft.content_key] % 2 == 0
        return answers.not_taken(self._box.new_id() if with_id else None, len(account.waiting) + 1)

    def _known_already(self, draft: Draft) -> Task | None:
        """The task that makes this submission a repetition; only UPSCALE is refused twice unless a fault says so."""
        if self._box.faults.existed or "existed" in draft.marks:
            return self._box.memory.find(lambda task: task.content == draft.content_key) or self._accept_silently(draft)
        if draft.action == "UPSCALE":
            return self._box.memory.find(lambda task: task.description == draft.description)
        return None

    def _accept_silently(self, draft: Draft) -> Task | None:
        account = self._box.accounts.choose(draft.instance_id)
        return self._accept(draft, account)[0] if account else None

    def _existed(self, task: Task) -> Told:
        content = answers.existed(self._box.personality, task, self._box.image_url(task))
        if self._box.personality.hides_22:  # gateways write a 21 as a 1, too
            content["code"] = answers.SUCCESS
        return answered(content)

    def _accept(self, draft: Draft, account: Account) -> tuple[Task, int]:
        box = self._box
        task_id = box.new_id()
        if box.faults.duplicate_ids and (newest := box.memory.newest()) is not None:
            task_id = newest.id
        stripped = box.personality.strips_options
        task = Task(
            id=task_id,
            serial=len(box.ledger),
            action=draft.action,
            description=draft.description.replace("{id}", task_id),
            picture=draft.picture,
            content=draft.content_key,
            state=None if stripped else draft.state,
            notify_hook=None if stripped else draft.notify_hook,
            bot_type=draft.bot_type,
            parent_id=draft.parent_id,
            submit_time=now_ms(),
            must_fail="fail" in draft.marks,
        )
        box.ledger.accept(
            task_id=task_id,
            state=draft.state,
            notify_hook=draft.notify_hook,
            inputs=list(draft.picture.inputs),
            personality=str(box.personality.name),
            action=draft.action,
            options=draft.options,
        )
        return task, box.life.place(account, task)

    def _accepted(self, task: Task, ahead: int) -> Told:
        if ahead and self._box.faults.late_22:
            ahead -= 1  # itself
        content = answers.accepted(self._box.personality, task.id, task.instance_id, ahead)
        return answered(content)

    def _spoiled(self) -> Told | None:
        """The faults that lose the answer of a submission that was accepted."""
        faults, chance = self._box.faults, self._box.chance
        if chance.strikes(faults.lose_answer):
            return Told("lost", HangUp())
        if chance.strikes(faults.fail_5xx_after):
            return self._server_error()
        if chance.strikes(faults.lose_in_gateway):
            self._gateway_losses += 1
            if self._gateway_losses % 2:
                return Told("5", answers.gateway_refusal(5, "do_request_failed"))
            return Told("4", answers.gateway_refusal(4, "insert_midjourney_task_failed"))
        return None

    def _server_error(self) -> Told:
        response = server_error(self._box, "/mj/submit/blend")
        return Told(f"http {response.status_code}", response)

    def _quota(self) -> Told:
        if self._box.personality.not_found is Manner.GATEWAY:
            return Told("4", answers.gateway_refusal(4, "quota_not_enough"))
        return answered(answers.message(answers.VALIDATION_ERROR, "quota_not_enough"))

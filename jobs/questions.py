"""Questions: what several rooms want to know of the server at the same moment, in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

import redis
from redis.client import Pipeline

from jobs.server import unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """
    Args:
        put: adds the commands.
        meaning: of their answers.
    """

    put: Callable[[Pipeline], object]
    meaning: Callable[[Sequence[Any]], T]


def ask(client: redis.Redis, question: Question[T]) -> T:
    """
    Raises:
        StoreUnavailable: Redis does not answer in time.
    """
    meaning: T
    (meaning,) = ask_all(client, question)
    return meaning


def ask_all(client: redis.Redis, *questions: Question[Any]) -> list[Any]:
    """As `ask`: what each of them means. The commands are done one after the other, in this order."""
    with unavailable():
        pipeline = client.pipeline(transaction=False)
        ends = [0]
        for question in questions:
            question.put(pipeline)
            ends.append(len(pipeline))
        answers: list[Any] = pipeline.execute()
    return [one.meaning(answers[begin:end]) for one, (begin, end) in zip(questions, pairwise(ends), strict=True)]

"""Packing: what is kept of jobs for long, in a third of its bytes (deflate, RFC 1951, with words known in advance).

Records are packed when they are final, lines of a history always. What is plain JSON is read as it is.
"""

from __future__ import annotations

import zlib

_LEVEL = 9
# Whatever was packed is read with a window at least as large as the one that it was packed with.
_LARGEST_WINDOW = -12

# What records and lines are made of, the most common last. These are never changed, since what was packed with them
# could not be read any more; better ones get marks of their own.
_OF_RECORDS = (
    b'"metadata":{"state":""priority":1"bot_type":"NIJI_JOURNEY""dimensions":"PORTRAIT""dimensions":"LANDSCAPE""modes"'
    b':["FAST"],"RELAX""remix":true"notify_hook":"https://"instance_id":""then":["U1","U2","U3","U4","V1"],"lost_claim'
    b's":1"collect_failures":1"retrying_since":""cancel_requested":true"reused_from":"job_"follows":{"job_id":"job_","'
    b'order":"action":"U1","take":2},"absences":1,"absent_since":"","refused":true"gone":true"withdrawn":true"position'
    b'":2"seed":"","code":22,"description":"In queue""status":"cancelled""status":"parked""status":"failed","reason":{'
    b'"kind":"","message":"""idempotency_key":""queued_answers":1,"backoffs":1,"follow_ups":["job_"],"claims":2,"commi'
    b'ts":2"media_type":"image/jpeg""media_type":"image/webp""width":2048,"height":2048{"id":"job_","campaign":"","req'
    b'uest":{"images":["sha256:","sha256:"],"custom_id":""},"created_at":"2026-01-01T00:00:00.000000Z","order":1,"stat'
    b'us":"succeeded","attempts":[{"number":1,"worker":"","claimed_at":"2026-","committed_at":"2026-","answered_at":"2'
    b'026-","code":1,"description":"Submit success","task_id":"17","seen":"SUCCESS","seen_at":"2026-","progress":100,"'
    b'image_url":"https://cdn.discordapp.com/attachments/"}],"current":1,"claims":1,"commits":1,"picture":{"digest":"s'
    b'ha256:","media_type":"image/png","width":1024,"height":1024,"bytes":1,"url":"https://cdn.discordapp.com/attachme'
    b'nts/"},"finished_at":"2026-'
)
_OF_LINES = (
    b'"event":"conflict""event":"collect_failed""event":"task_missing""event":"retry","before":"failed","after":"waiti'
    b'ng""event":"cancel","before":"waiting","after":"cancelled""event":"lease_end","before":"released","after":"waiti'
    b'ng""event":"no_answer","before":"committed","after":"unsure""after":"parked""after":"failed""before":"unsure""ev'
    b'ent":"answer","before":"committed","after":"queued","detail":"queued: code 22 "event":"task_seen","before":"queu'
    b'ed","after":"running""event":"task_seen","before":"accepted","after":"running","detail":"poll: IN_PROGRESS"}"eve'
    b'nt":"task_seen","before":"running","after":"collecting","detail":"poll: SUCCESS"}"event":"release","before":"wai'
    b'ting","after":"released"}"event":"claim","before":"released","after":"submitting","detail":"attempt 1 by "event"'
    b':"commit","before":"submitting","after":"committed","detail":"attempt 1"}"event":"answer","before":"committed","'
    b'after":"accepted","detail":"accepted: code 1 Submit success"}"event":"task_seen","before":"accepted","after":"co'
    b'llecting","detail":"callback: SUCCESS"}"event":"collected","before":"collecting","after":"succeeded","detail":"s'
    b'ha256:{"at":"2026-'
)


class Packing:
    """
    Args:
        mark: the first byte of what is packed with these words; JSON begins with none like it.
        words: what texts of this kind are made of.
        window, memory: as zlib has them; large enough for the words and a text, and small, since it all is copied
            for each text.
    """

    def __init__(self, mark: bytes, words: bytes, window: int, memory: int) -> None:
        self._mark = mark
        self._words = words
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window, memory, zdict=words)

    def pack(self, text: bytes) -> bytes:
        packer = self._packer.copy()  # it knows its words already: reading them takes as long as what is packed
        return self._mark + packer.compress(text) + packer.flush()

    def unpack(self, packed: bytes) -> bytes:
        return zlib.decompressobj(_LARGEST_WINDOW, zdict=self._words).decompress(packed[1:])


RECORDS = Packing(b"\x01", _OF_RECORDS, window=-12, memory=5)
LINES = Packing(b"\x02", _OF_LINES, window=-11, memory=2)
_BY_MARK = {b"\x01": RECORDS, b"\x02": LINES}


def unpacked(kept: bytes) -> bytes:
    """The JSON, whether it was packed or not.

    Raises:
        zlib.error: it was, and is damaged.
    """
    packing = _BY_MARK.get(kept[:1])
    return packing.unpack(kept) if packing else kept

-- Forget finished jobs, each if nobody wrote it since it was read.
--
-- KEYS[1]  hash: tally of all jobs    KEYS[2]  hash: task id -> job id
-- KEYS[3]  hash: picture -> job id    KEYS[4]  zset: campaigns
-- KEYS[5]  hash: content id -> job id
-- KEYS[6..]  for each job: its hash, its history, of its campaign the tally, the jobs, the plan, the pause and the
--            failures, what its idempotency key names, and of its campaign the last turn
-- ARGV[1..]  for each job, as JSON: id, campaign, version, tasks, pictures and contents (that may be its own), tally
--            {name: count}, purged (the same: what stays of it in the tally of its campaign)
--
-- Returns how many were forgotten. A campaign without jobs is forgotten as well. A repeated call does nothing.

-- So long a key still names a job that is gone (docs/http-api.md).
local KEY_KEPT_MS = 30 * 24 * 60 * 60 * 1000

local function release(hash, names, id)
  for _, name in ipairs(names) do
    if redis.call('HGET', hash, name) == id then
      redis.call('HDEL', hash, name)
    end
  end
end

local forgotten = 0
for at, text in ipairs(ARGV) do
  local job = cjson.decode(text)
  local first = 6 + (at - 1) * 9
  if redis.call('HGET', KEYS[first], 'version') == job.version then
    release(KEYS[2], job.tasks, job.id)
    release(KEYS[3], job.pictures, job.id)
    release(KEYS[5], job.contents, job.id)
    for name, count in pairs(job.tally) do
      redis.call('HINCRBY', KEYS[1], name, -count)
      redis.call('HINCRBY', KEYS[first + 2], name, -count)
    end
    for name, count in pairs(job.purged) do
      redis.call('HINCRBY', KEYS[first + 2], name, count)
    end
    redis.call('DEL', KEYS[first], KEYS[first + 1])
    redis.call('ZREM', KEYS[first + 3], job.id)
    redis.call('ZREM', KEYS[first + 6], job.id)
    redis.call('PEXPIRE', KEYS[first + 7], KEY_KEPT_MS)
    if redis.call('EXISTS', KEYS[first + 3]) == 0 then
      redis.call('DEL', KEYS[first + 2], KEYS[first + 4], KEYS[first + 5], KEYS[first + 8])
      redis.call('ZREM', KEYS[4], job.campaign)
    end
    forgotten = forgotten + 1
  end
end
return forgotten

-- Write a changed job, if nobody else wrote it since it was read.
--
-- KEYS[1]  the job's hash             KEYS[4]  hash: tally of all jobs
-- KEYS[2]  the job's history          KEYS[5]  hash: tally of the job's campaign
-- KEYS[3]  set: jobs holding a slot   KEYS[6]  hash: task id -> job id     KEYS[7]  hash: picture -> job id
-- KEYS[8..]  zsets: where the job may have stood, then, if change.score is given, where it stands now
-- ARGV[1]  the new record, as JSON
-- ARGV[2]  the history's new line, as JSON
-- ARGV[3]  the change, as JSON:
--          id, version (as read), write (a name for this write, the same when it is repeated),
--          slot ("hold" or "free"), slot_limit (only with a new hold), score, task_id and picture (to be claimed),
--          tally {name: delta}
--
-- Returns {"saved"}, {"stale"}, {"full"} or {"conflict", the job that has the task or picture}.
-- All effects stand behind the guards, so a repeated call is harmless: the second finds its own name and says "saved".

local change = cjson.decode(ARGV[3])
local id = change.id

local known = redis.call('HMGET', KEYS[1], 'version', 'write')
if known[2] == change.write then
  return {'saved'}
end
if known[1] ~= change.version then
  return {'stale'}
end

if change.slot == 'hold' and change.slot_limit and redis.call('SISMEMBER', KEYS[3], id) == 0
    and redis.call('SCARD', KEYS[3]) >= change.slot_limit then
  return {'full'}
end

local claims = {{KEYS[6], change.task_id}, {KEYS[7], change.picture}}
for _, claim in ipairs(claims) do
  local owner = claim[2] and redis.call('HGET', claim[1], claim[2])
  if owner and owner ~= id then
    return {'conflict', owner}
  end
end
for _, claim in ipairs(claims) do
  if claim[2] then
    redis.call('HSET', claim[1], claim[2], id)
  end
end

redis.call('HSET', KEYS[1], 'doc', ARGV[1], 'version', known[1] + 1, 'write', change.write)
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], -200, -1)
redis.call(change.slot == 'hold' and 'SADD' or 'SREM', KEYS[3], id)

local last = #KEYS
if change.score then
  last = last - 1
end
for place = 8, last do
  redis.call('ZREM', KEYS[place], id)
end
if change.score then
  redis.call('ZADD', KEYS[#KEYS], change.score, id)
end

for name, delta in pairs(change.tally) do
  redis.call('HINCRBY', KEYS[4], name, delta)
  redis.call('HINCRBY', KEYS[5], name, delta)
end
return {'saved'}

-- Create the jobs that do not exist yet; all of one campaign, all waiting.
--
-- KEYS[1]  zset: its jobs ready to go  KEYS[4]  zset: campaigns         KEYS[6]  the epoch
-- KEYS[2]  hash: tally of all jobs     KEYS[5]  zset: the campaign's jobs
-- KEYS[3]  hash: tally of the campaign KEYS[7]  set: campaigns that have ready jobs     KEYS[9..]  the jobs' hashes
-- KEYS[8]  stream: what has become of jobs
-- ARGV[1]  the campaign's name
-- ARGV[2]  now, in ms
-- ARGV[3]  the epoch that this Redis must have; empty for any
-- ARGV[4..]  for each job: id, rank, order, record as JSON
--
-- Returns a list with 1 for each job that was created, 0 for each that was there; nil when the epoch is another, and
-- nothing was done. A repeated call creates nothing.

-- As in save.lua.
local CHANGES_KEPT = 10000

if ARGV[3] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[3] then
  return nil
end

local created = {}
local count = 0
for index = 9, #KEYS do
  local at = 4 + (index - 9) * 4
  local id, rank, order, doc = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if redis.call('EXISTS', KEYS[index]) == 1 then
    created[#created + 1] = 0
  else
    redis.call('HSET', KEYS[index], 'doc', doc, 'version', 1)
    redis.call('ZADD', KEYS[1], rank, id)
    redis.call('ZADD', KEYS[5], order, id)
    redis.call('XADD', KEYS[8], 'MAXLEN', '~', CHANGES_KEPT, '*',
      'job', id, 'campaign', ARGV[1], 'status', 'waiting', 'progress', '')
    created[#created + 1] = 1
    count = count + 1
  end
end
if count > 0 then
  redis.call('HINCRBY', KEYS[2], 'waiting', count)
  redis.call('HINCRBY', KEYS[3], 'waiting', count)
  redis.call('SADD', KEYS[7], ARGV[1])
  redis.call('ZADD', KEYS[4], 'NX', ARGV[2], ARGV[1])
end
return created

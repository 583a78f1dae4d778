-- Create the jobs that do not exist yet; all of one campaign, all waiting.
--
-- KEYS[1]  zset: its jobs ready to go  KEYS[4]  zset: campaigns         KEYS[6]  the epoch
-- KEYS[2]  hash: tally of all jobs     KEYS[5]  zset: the campaign's jobs
-- KEYS[3]  hash: tally of the campaign KEYS[7]  set: campaigns that have ready jobs     KEYS[9..]  the jobs' hashes
-- KEYS[8]  stream: what has become of jobs     behind them, for each job that has an idempotency key: what that names
-- ARGV[1]  the campaign's name
-- ARGV[2]  now, in ms
-- ARGV[3]  the epoch that this Redis must have; empty for any
-- ARGV[4]  how many jobs there are
-- ARGV[5..]  for each job: id, rank, order, record as JSON, digest of its content (empty when it has no key)
--
-- Returns for each job: 1 when it was created, 0 when it was there, 'purged' when its key named it and it is there no
-- more, and when its key names another request the id of that job. nil when the epoch is another, and nothing was done.
-- A repeated call creates nothing.

-- As in save.lua.
local CHANGES_KEPT = 10000

if ARGV[3] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[3] then
  return nil
end

local created = {}
local count = 0
local jobs = tonumber(ARGV[4])
local named = 8 + jobs
for number = 1, jobs do
  local index, at = 8 + number, number * 5
  local id, rank, order, doc, content = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local there = redis.call('EXISTS', KEYS[index]) == 1
  local owner = false
  if content ~= '' then
    named = named + 1
    owner = redis.call('GET', KEYS[named])
    if not owner and not there then
      redis.call('SET', KEYS[named], id .. ' ' .. content)
    end
  end
  if owner and owner ~= id .. ' ' .. content then
    created[#created + 1] = string.match(owner, '^%S+')
  elseif there then
    created[#created + 1] = 0
  elseif owner then
    created[#created + 1] = 'purged'
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

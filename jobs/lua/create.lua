-- Create the jobs that do not exist yet; all of one campaign, all waiting. Stands behind new_jobs.lua.
--
-- KEYS[1]  zset: the first queue       KEYS[4]  zset: campaigns         KEYS[6]  the epoch
-- KEYS[2]  hash: tally of all jobs     KEYS[5]  zset: the campaign's jobs
-- KEYS[3]  hash: tally of the campaign KEYS[7]  set: queues that have ready jobs     KEYS[9..]  the jobs' hashes
-- KEYS[8]  stream: what has become of jobs     behind them, for each job that has an idempotency key: what that names;
--          then the zsets of further queues
-- ARGV[1]  the campaign's name
-- ARGV[2]  now, in ms
-- ARGV[3]  the epoch that this Redis must have; empty for any
-- ARGV[4]  how many jobs there are
-- ARGV[5]  how many queues there are
-- ARGV[6..]  the names of the queues; then for each job: id, rank, order, record as JSON, digest of its content (empty when
--            it has no key), the number of its queue
--
-- Returns for each job: 1 when it was created, 0 when it was there, 'purged' when its key named it and it is there no
-- more, and when its key names another request the id of that job. nil when the epoch is another, and nothing was done.
-- A repeated call creates nothing.

if ARGV[3] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[3] then
  return nil
end

local jobs, queues = tonumber(ARGV[4]), tonumber(ARGV[5])
local created, new = {}, {}
for queue = 1, queues do
  new[queue] = {}
end
local named = 8 + jobs
for number = 1, jobs do
  local at = number * 6 + queues
  local job = {record = KEYS[8 + number], id = ARGV[at], rank = ARGV[at + 1], order = ARGV[at + 2], doc = ARGV[at + 3]}
  local there = redis.call('EXISTS', job.record) == 1
  local claim = ARGV[at + 4] ~= '' and job.id .. ' ' .. ARGV[at + 4]
  local owner = false
  if claim then
    named = named + 1
    owner = redis.call('GET', KEYS[named])
    if not owner and not there then
      redis.call('SET', KEYS[named], claim)
    end
  end
  if owner and owner ~= claim then
    created[number] = string.match(owner, '^%S+')
  elseif there then
    created[number] = 0
  elseif owner then
    created[number] = 'purged'
  else
    put_new(new[tonumber(ARGV[at + 5])], job)
    created[number] = 1
  end
end

local count = 0
local keys = {tallies = {KEYS[2], KEYS[3]}, jobs = KEYS[5], contenders = KEYS[7], changes = KEYS[8]}
for queue = 1, queues do
  keys.ready = queue == 1 and KEYS[1] or KEYS[#KEYS - queues + queue]
  enter(new[queue], ARGV[1], ARGV[5 + queue], keys)
  count = count + #new[queue]
end
if count > 0 then
  redis.call('ZADD', KEYS[4], 'NX', ARGV[2], ARGV[1])
end
return created

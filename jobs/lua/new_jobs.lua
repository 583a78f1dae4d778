-- What create.lua and save.lua begin with: how new jobs of one queue are put where dispatch finds them.
--
-- campaign  its name
-- queue     its name: the campaign, and the pin
-- keys      ready (zset: the queue), jobs (zset: all jobs of the campaign), contenders (set: queues that have ready jobs),
--           changes (stream: what has become of jobs), tallies (hashes: that of all jobs, and its own)

-- About so many entries; nodes of the stream are dropped whole.
local CHANGES_KEPT = 10000
-- Share one call of a command, and one entry of the stream: a command of its own for each job costs more than the job.
local JOBS_TOGETHER = 50

-- Create the record of a job that does not exist yet, and keep the job in mind for `enter`.
--
-- new  the jobs so far
-- job  record (the key of its hash), id, rank, order, doc (the record, as JSON)
local function put_new(new, job)
  redis.call('HSET', job.record, 'doc', job.doc, 'version', 1)
  new[#new + 1] = job
end

local function enter_some(new, first, last, campaign, keys)
  local ready, jobs, ids = {}, {}, {}
  for at = first, last do
    local job = new[at]
    ids[#ids + 1] = job.id
    ready[#ready + 1] = job.rank
    ready[#ready + 1] = job.id
    jobs[#jobs + 1] = job.order
    jobs[#jobs + 1] = job.id
  end
  redis.call('ZADD', keys.ready, unpack(ready))
  redis.call('ZADD', keys.jobs, unpack(jobs))
  redis.call('XADD', keys.changes, 'MAXLEN', '~', CHANGES_KEPT, '*',
    'job', table.concat(ids, ' '), 'campaign', campaign, 'status', 'waiting', 'progress', '')
end

-- Put the new jobs where they are found.
local function enter(new, campaign, queue, keys)
  if #new == 0 then
    return
  end
  for first = 1, #new, JOBS_TOGETHER do
    enter_some(new, first, math.min(first + JOBS_TOGETHER - 1, #new), campaign, keys)
  end
  redis.call('SADD', keys.contenders, queue)
  for _, tally in ipairs(keys.tallies) do
    redis.call('HINCRBY', tally, 'waiting', #new)
  end
end


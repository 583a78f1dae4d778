-- What create.lua and save.lua begin with: how new jobs of one campaign are put where dispatch finds them.
--
-- campaign  its name
-- keys      ready (zset: its jobs that are ready to go), jobs (zset: all its jobs), contenders (set: campaigns that have
--           ready jobs), changes (stream: what has become of jobs), tallies (hashes: that of all jobs, and its own)

-- About so many; nodes of the stream are dropped whole.
local CHANGES_KEPT = 10000

-- job  record (the key of its hash), id, rank, order, doc (the record, as JSON)
local function put_new(job, campaign, keys)
  redis.call('HSET', job.record, 'doc', job.doc, 'version', 1)
  redis.call('ZADD', keys.ready, job.rank, job.id)
  redis.call('ZADD', keys.jobs, job.order, job.id)
  redis.call('XADD', keys.changes, 'MAXLEN', '~', CHANGES_KEPT, '*',
    'job', job.id, 'campaign', campaign, 'status', 'waiting', 'progress', '')
end

local function count_new(count, campaign, keys)
  if count > 0 then
    redis.call('SADD', keys.contenders, campaign)
    for _, tally in ipairs(keys.tallies) do
      redis.call('HINCRBY', tally, 'waiting', count)
    end
  end
end


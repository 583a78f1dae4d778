-- Write changed jobs, each if nobody else wrote it since it was read. One flush to the disk for all of them. Stands
-- behind new_jobs.lua.
--
-- KEYS[1]  set: jobs that hold a slot at the default door    KEYS[2]  hash: tally of all jobs
-- KEYS[3]  hash: task id -> job id    KEYS[4]  hash: picture -> job id
-- KEYS[5]  set: queues with ready jobs  KEYS[6]  stream: what has become of jobs
-- KEYS[7]  hash: webhooks             KEYS[8]  hash: notices, id -> JSON
-- KEYS[9]  zset: the outbox of notices, id -> time in ms
-- KEYS[10] hash: answers ever, by kind  KEYS[11] hash: the same, of this period
-- KEYS[12] hash: content id -> a job that has succeeded with it
-- KEYS[13] list: jobs whose pictures are to be fetched
-- KEYS[14..]  for each job, one after the other: its hash, its history, the hash with the tally of its campaign; then,
--            if change.slots is given, the sets of jobs that hold a slot at the door that it leaves, and at the one where
--            it is now; then the zsets in one of which it stood, and stands no more; then, if change.score is given, the
--            zset where it stands now; then, if change.new is given, the zsets of its queue and of all its campaign's jobs,
--            and the new jobs' hashes
-- ARGV[1..]  for each job, one after the other:
--            the new record, as JSON
--            the history's new line, as JSON
--            the change, as JSON: id, keys (how many of KEYS are its own), version (as read), last (the write that left
--            it so; only when it was not read just now), created (only in the step that creates the job: its record;
--            another one was there already), write (a name for this write, the same when it is repeated), once (what
--            happened must not happen again), slot (only when it holds another than before: "hold" or "free"), slots
--            (with that, only where it is or was at another door than the default one: 2, the sets among its keys),
--            slot_limit (only with a new hold), budget (only with a release: how many submissions its campaign may
--            have), score, contender (its queue, when it is now ready), task_id and picture (to be claimed), content
--            (its id, when the job has succeeded with it now, or has not after all), source (only with a reuse: the job
--            that must have succeeded with it still), tally {name: delta}, there (the same, of what is at such a door),
--            answer (its kind, when a submission was answered), fetch (its picture is to be fetched, by whoever is
--            free), shown (only when people see another: campaign, status, progress), untold (the job has ended, and no
--            notice is given since there were no webhooks), notice (only when the job has ended: id, doc, at in ms, and
--            hook, whether the job brought an address along), finished (only when it had not ended before; told when
--            its campaign has no unfinished job any more: id, doc, at, names of counts, and unfinished, how many of
--            these are of unfinished jobs: the first ones), new (its follow-ups that are to be created: campaign,
--            queue, and for each of the jobs id, rank, order, doc)
--
-- Returns for each job {"saved"}, {"stale"}, {"full"}, {"spent"}, {"conflict", the job that has the task or picture},
-- {"untold"} when there are webhooks after all, {"void"} when the source has no such picture any more, or {"error", the
-- server's words}: a job that cannot be written holds up none of the others.
-- All effects stand behind the guards, so a repeated call is harmless: the second finds its own name, and says "saved".

-- Others may write a job again before a lost reply is asked for again, though hardly more often than this.
local NAMES_KEPT = 8
local PERIODS_KEPT_SECONDS = 7200
local LINES_KEPT = 200

-- What is the same for many jobs of a call is written once for all of them, at its end: sums, hash -> name -> delta, and
-- what people see, the jobs that have come to the same one after the other.
local sums, seen = {}, {}

local function add(hash, deltas)
  sums[hash] = sums[hash] or {}
  for name, delta in pairs(deltas) do
    sums[hash][name] = (sums[hash][name] or 0) + delta
  end
end

-- Write the sums of a hash; before it is read, and at the end.
local function settle(hash)
  for name, delta in pairs(sums[hash] or {}) do
    if delta ~= 0 then
      redis.call('HINCRBY', hash, name, delta)
    end
  end
  sums[hash] = nil
end

local function see(id, shown)
  local last = seen[#seen]
  if not last or table.concat(last.shown, ' ') ~= table.concat(shown, ' ') or #last.ids == JOBS_TOGETHER then
    last = {shown = shown, ids = {}}
    seen[#seen + 1] = last
  end
  last.ids[#last.ids + 1] = id
end

local function tell(notice, doc)
  redis.call('HSET', KEYS[8], notice.id, doc)
  redis.call('ZADD', KEYS[9], notice.at, notice.id)
end

-- What the webhooks are told, if there are any.
local function tell_the_end(change, counts)
  local webhooks = redis.call('EXISTS', KEYS[7]) == 1
  if webhooks or change.notice.hook then
    tell(change.notice, change.notice.doc)
  end
  if not webhooks or not change.finished then
    return
  end
  local doc, names = cjson.decode(change.finished.doc), change.finished.names
  doc.data.counts = {}
  settle(counts)
  for at, count in ipairs(redis.call('HMGET', counts, unpack(names))) do
    if count and count ~= '0' then
      if at <= change.finished.unfinished then
        return
      end
      doc.data.counts[names[at]] = tonumber(count)
    end
  end
  tell(change.finished, cjson.encode(doc))
end

-- KEYS[first..] the zsets of its queue and of all its campaign's jobs, and the new jobs' hashes.
local function carry_on(change, first, tally)
  local keys = {ready = KEYS[first], jobs = KEYS[first + 1], contenders = KEYS[5], changes = KEYS[6],
    tallies = {KEYS[2], tally}}
  local new = {}
  for at, job in ipairs(change.new.jobs) do
    job.record = KEYS[first + 1 + at]
    if redis.call('EXISTS', job.record) == 0 then
      put_new(new, job)
    end
  end
  enter(new, change.new.campaign, change.new.queue, keys)
end

local function save(change, doc, line, first)
  local id, record = change.id, KEYS[first]

  local known = redis.call('HMGET', record, 'version', 'writes')
  local names = known[2] or ''
  local at = string.find(names, change.write, 1, true)
  -- Where another wrote since, whoever repeats a commit must hear that it no longer holds; an order is not given twice.
  if at == 1 or at and change.once then
    return {'saved'}
  end
  if known[1] ~= change.version or change.last and string.sub(names, 1, #change.last) ~= change.last then
    return {'stale'}
  end
  if change.created and redis.call('HGET', record, 'doc') ~= change.created then
    return {'stale'}
  end
  if change.untold and redis.call('EXISTS', KEYS[7]) == 1 then
    return {'untold'}
  end

  local left = change.slots and KEYS[first + 3] or KEYS[1]
  local held = change.slots and KEYS[first + 4] or KEYS[1]
  if change.slot == 'hold' and change.slot_limit and redis.call('SISMEMBER', held, id) == 0
      and redis.call('SCARD', held) >= change.slot_limit then
    return {'full'}
  end

  if change.budget then
    settle(KEYS[first + 2])
    local spent = 0
    local paid = {'submissions', 'uncertain', 'released', 'submitting', 'purged:paid'}
    for _, count in ipairs(redis.call('HMGET', KEYS[first + 2], unpack(paid))) do
      spent = spent + (tonumber(count) or 0)
    end
    if spent >= change.budget then
      return {'spent'}
    end
  end

  local source = change.content and redis.call('HGET', KEYS[12], change.content)
  if change.source and source ~= change.source then
    return {'void'}
  end

  local claims = {{KEYS[3], change.task_id}, {KEYS[4], change.picture}}
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

  redis.call('HSET', record, 'doc', doc, 'version', known[1] + 1,
    'writes', string.sub(change.write .. names, 1, NAMES_KEPT * #change.write))
  if redis.call('RPUSH', KEYS[first + 1], line) > LINES_KEPT then
    redis.call('LTRIM', KEYS[first + 1], -LINES_KEPT, -1)
  end
  if change.slot == 'free' or left ~= held then
    redis.call('SREM', left, id)
  end
  if change.slot == 'hold' then
    redis.call('SADD', held, id)
  end

  local last = first + change.keys - 1
  if change.new then
    last = last - 2 - #change.new.jobs
    carry_on(change, last + 1, KEYS[first + 2])
  end
  if change.score then
    last = last - 1
  end
  for place = first + 3 + (change.slots or 0), last do
    if redis.call('ZREM', KEYS[place], id) == 1 then
      break
    end
  end
  if change.score then
    redis.call('ZADD', KEYS[last + 1], change.score, id)
  end
  if change.contender then
    redis.call('SADD', KEYS[5], change.contender)
  end

  if source == id then
    redis.call('HDEL', KEYS[12], change.content)
  elseif change.content and not source then
    redis.call('HSET', KEYS[12], change.content, id)
  end

  add(KEYS[2], change.tally)
  add(KEYS[2], change.there or {})
  add(KEYS[first + 2], change.tally)
  if change.answer then
    redis.call('HINCRBY', KEYS[10], change.answer, 1)
    if redis.call('HINCRBY', KEYS[11], change.answer, 1) == 1 then
      redis.call('EXPIRE', KEYS[11], PERIODS_KEPT_SECONDS)
    end
  end
  if change.shown then
    see(id, change.shown)
  end
  if change.notice then
    tell_the_end(change, KEYS[first + 2])
  end
  if change.fetch then
    redis.call('RPUSH', KEYS[13], id)
  end
  return {'saved'}
end

local answers = {}
local first = 14
for at = 1, #ARGV, 3 do
  local change = cjson.decode(ARGV[at + 2])
  local done, answer = pcall(save, change, ARGV[at], ARGV[at + 1], first)
  answers[#answers + 1] = done and answer or {'error', type(answer) == 'table' and answer.err or tostring(answer)}
  first = first + change.keys
end
for hash in pairs(sums) do
  settle(hash)
end
for _, each in ipairs(seen) do
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', CHANGES_KEPT, '*',
    'job', table.concat(each.ids, ' '), 'campaign', each.shown[1], 'status', each.shown[2], 'progress', each.shown[3])
end
return answers

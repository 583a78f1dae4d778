-- Take a job out of its queue until later: it cannot go now, and is not to keep those behind it waiting.
--
-- KEYS[1]  zset: the queue
-- KEYS[2]  zset: jobs not due yet
-- ARGV[1]  the job's id
-- ARGV[2]  until when, in ms
--
-- Returns 1; 0 when it stands there no more, and nothing was done.

if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1

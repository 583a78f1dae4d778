-- Move jobs of one queue that have become due among those that are ready to go.
--
-- KEYS[1]  zset: jobs not due yet
-- KEYS[2]  zset: the queue
-- KEYS[3]  set: queues that have ready jobs
-- ARGV[1]  the queue's name
-- ARGV[2..]  pairs of id and rank
--
-- Returns how many were moved. One that is no longer waiting there is left alone, so a repeated call is harmless.

local moved = 0
for at = 2, #ARGV, 2 do
  if redis.call('ZREM', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
    moved = moved + 1
  end
end
if moved > 0 then
  redis.call('SADD', KEYS[3], ARGV[1])
end
return moved

-- Move jobs that have become due among those that are ready to go.
--
-- KEYS[1]  zset: jobs not due yet
-- KEYS[2]  zset: jobs ready to go
-- ARGV     pairs of id and rank
--
-- Returns how many were moved. One that is no longer waiting there is left alone, so a repeated call is harmless.

local moved = 0
for at = 1, #ARGV, 2 do
  if redis.call('ZREM', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
    moved = moved + 1
  end
end
return moved

-- Take some of the jobs that are due to be looked at, so that nobody else looks at them for a while.
--
-- KEYS[1]  zset: id -> due time in ms
-- ARGV[1]  how many at most
-- ARGV[2]  for how long they are taken, in ms
--
-- Returns their ids, the longest due first. By the server's clock: the workers' clocks may differ.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  redis.call('ZADD', KEYS[1], now + ARGV[2], id)
end
return ids

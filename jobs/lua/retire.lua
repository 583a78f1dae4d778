-- Forget a queue of ready jobs, if it is empty.
--
-- KEYS[1]  set: queues that have ready jobs
-- KEYS[2]  zset: the queue
-- ARGV[1]  the queue's name

if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end

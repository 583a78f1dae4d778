-- Forget that a campaign has ready jobs, if it has none.
--
-- KEYS[1]  set: campaigns that have ready jobs
-- KEYS[2]  zset: the campaign's jobs that are ready to go
-- ARGV[1]  the campaign's name

if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end

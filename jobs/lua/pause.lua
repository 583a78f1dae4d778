-- Pause a campaign, and tell the webhooks of it.
--
-- KEYS[1]  the pause                      KEYS[2]  hash: webhooks
-- KEYS[3]  hash: notices, id -> JSON      KEYS[4]  zset: the outbox, notice -> its time in ms
-- ARGV[1]  the pause, as JSON
-- ARGV[2]  the notice's id
-- ARGV[3]  the notice, as JSON
-- ARGV[4]  its time, in ms
--
-- Returns 1; 0 when it was paused already, and nothing was done.

if not redis.call('SET', KEYS[1], ARGV[1], 'NX') then
  return 0
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
end
return 1

-- Hand a notice of the outbox to the lanes of those who are to be told.
--
-- KEYS[1]  zset: the outbox     KEYS[2]  zset: notices that were handed out, id -> when first, in ms
-- KEYS[3]  hash: notices        KEYS[4]  set: lanes in which notices wait
-- KEYS[5..]  zset: each lane, notice -> due time in ms
-- ARGV[1]  the notice's id
-- ARGV[2]  now, in ms
-- ARGV[3]  1: it is kept for a replay; 0: nobody wants such, and it is forgotten
-- ARGV[4..]  the lanes' names
--
-- Returns 1; 0 when it had been handed out, and nothing was done.

if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then
  return 0
end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[3], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 1
end
redis.call('ZADD', KEYS[2], 'NX', ARGV[2], ARGV[1])
for lane = 5, #KEYS do
  redis.call('ZADD', KEYS[lane], ARGV[2], ARGV[1])
  redis.call('SADD', KEYS[4], ARGV[lane - 1])
end
return 1

-- Take one run of a schedule that is due, and put the next one down. Of any number of takers one gets it.
--
-- KEYS[1]  zset: schedule -> its next run (ms)
-- KEYS[2]  zset: run -> until when somebody has it in hand (ms)
-- ARGV[1]  the schedule   ARGV[2]  the run that is due (ms)   ARGV[3]  the one after it (ms)
-- ARGV[4]  the run's name ARGV[5]  until when it is ours (ms)
--
-- Returns 1 when it is ours. A repeated call returns 0: then the run is found when its time is up.

if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[4])
return 1

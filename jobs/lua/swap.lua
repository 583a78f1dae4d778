-- Change an entry of a hash, if nobody else changed it since it was read.
--
-- KEYS[1]  hash: name -> JSON
-- ARGV[1]  the name
-- ARGV[2]  the entry as it was read
-- ARGV[3]  the entry as it is to be
--
-- Returns 1; 0 when it is another by now, or gone, and nothing was done. A repeated call returns 1 again.

local found = redis.call('HGET', KEYS[1], ARGV[1])
if found == ARGV[3] then
  return 1
end
if found ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1

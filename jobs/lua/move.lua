-- Write down what was found of the flow, if nobody else did since it was read.
--
-- KEYS[1]  the flow, as JSON
-- KEYS[2]  list: its last changes, the newest first
-- ARGV[1]  the flow as it was read; empty: there was none
-- ARGV[2]  the flow from now on
-- ARGV[3]  the change, as JSON, to be kept with the others; empty: none worth telling
--
-- Returns 1 when it was written. A repeated call returns 0, and does nothing.

local MOVES_KEPT = 100

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then
  redis.call('LPUSH', KEYS[2], ARGV[3])
  redis.call('LTRIM', KEYS[2], 0, MOVES_KEPT - 1)
end
return 1

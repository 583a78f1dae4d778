-- Take the errand that has waited the longest in the first of some lists that holds any.
--
-- KEYS[1..n]     the lists, in the order in which they are looked at
-- KEYS[n+1..2n]  for each of them the broker's queue with the messages about it
--
-- Returns the list's number, what was taken, and the number of a list in which others wait that no message tells of (0:
-- there is none); or nothing, when nothing waits.

local lists = #KEYS / 2

local function untold()
  for at = 1, lists do
    if redis.call('LLEN', KEYS[at]) > 0 and redis.call('LLEN', KEYS[lists + at]) == 0 then
      return at
    end
  end
  return 0
end

for at = 1, lists do
  local taken = redis.call('LPOP', KEYS[at])
  if taken then
    return {at, taken, untold()}
  end
end
return false

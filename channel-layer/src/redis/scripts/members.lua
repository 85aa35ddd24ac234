-- Reads a group's members after dropping those whose membership has lapsed.
-- KEYS: the group. ARGV: the oldest score of a membership, the oldest score of a process' own membership.
-- A process renews its own memberships, which are known by their name, much more often than others have to.
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local alive = {}
for i = 1, #members, 2 do
  if tonumber(members[i + 1]) < tonumber(ARGV[2]) and string.find(members[i], '!waterway.', 1, true) then
    redis.call('ZREM', KEYS[1], members[i])
  else
    alive[#alive + 1] = members[i]
  end
end
return alive

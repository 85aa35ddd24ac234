-- Reads a group's members and adds one message to the queue of each of their processes, in one round trip.
-- KEYS: the group. ARGV: the oldest score of a membership, the oldest score of a process' own membership, the
-- prefix of keys, the oldest score to drop, the capacity, the score, the expiry in seconds, the message up to
-- where the list of its receivers begins, and the word that is left in a full queue of a process of ours, once behind
-- each message.
-- Returns how many queues were full. It touches keys that it was not given, so it is not for Redis Cluster.
-- Changes nothing, but fails when memory is full: after any other write Redis would let the script go on.
redis.call('ZADD', KEYS[1], 'XX', 0, '')
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
local members = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local receivers, keys, ours = {}, {}, {}
for i = 1, #members, 2 do
  local name = members[i]
  local own = string.find(name, '!waterway.', 1, true)
  if own and tonumber(members[i + 1]) < tonumber(ARGV[2]) then
    redis.call('ZREM', KEYS[1], name)
  else
    local key = ARGV[3] .. (string.match(name, '^[^!]*!') or name)
    if not receivers[key] then
      receivers[key] = {}
      keys[#keys + 1] = key
    end
    local length = #name
    local head = length < 32 and string.char(160 + length) or string.char(217, length)
    table.insert(receivers[key], head .. name)
    ours[key] = ours[key] or own
  end
end
local full = 0
for _, key in ipairs(keys) do
  redis.call('ZREMRANGEBYSCORE', key, 0, ARGV[4])
  if redis.call('ZCARD', key) >= tonumber(ARGV[5]) then
    full = full + 1
    local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
    if ours[key] and string.sub(last[1], 1, #ARGV[9]) ~= ARGV[9] then
      -- The clock of who sent the last message may be ahead of ours.
      local score = string.format('%.6f', math.max(tonumber(ARGV[6]), tonumber(last[2]) + 0.000002))
      redis.call('ZADD', key, score, ARGV[9] .. score)
    end
  else
    local count = #receivers[key]
    local head = count < 16 and string.char(144 + count)
      or string.char(220, math.floor(count / 256) % 256, count % 256)
    redis.call('ZADD', key, ARGV[6], ARGV[8] .. head .. table.concat(receivers[key]))
    redis.call('EXPIRE', key, ARGV[7])
  end
end
return full

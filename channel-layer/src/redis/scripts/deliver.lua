-- Adds messages to queues, one each, and counts the queues that are full.
-- KEYS: the queues. ARGV: the oldest score to drop, the score, the expiry in seconds; then for each queue its
-- capacity, its message, and the word that is left in it when it is full, once behind each message, unless that is empty.
-- Changes nothing, but fails when memory is full: after any other write Redis would let the script go on.
redis.call('ZADD', KEYS[1], 'XX', 0, '')
local full = {}
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, 0, ARGV[1])
  if redis.call('ZCARD', key) >= tonumber(ARGV[1 + 3 * i]) then
    full[#full + 1] = i
    local word, last = ARGV[3 + 3 * i], redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
    if word ~= '' and string.sub(last[1], 1, #word) ~= word then
      -- The clock of who sent the last message may be ahead of ours.
      local score = string.format('%.6f', math.max(tonumber(ARGV[2]), tonumber(last[2]) + 0.000002))
      redis.call('ZADD', key, score, word .. score)
    end
  else
    redis.call('ZADD', key, ARGV[2], ARGV[2 + 3 * i])
    redis.call('EXPIRE', key, ARGV[3])
  end
end
return full

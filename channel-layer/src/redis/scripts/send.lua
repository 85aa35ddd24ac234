-- Adds one message to a channel's queue, as channels_redis does in four round trips.
-- KEYS: the queue. ARGV: the oldest score to drop, the capacity, the score, the message, the expiry in seconds.
-- Returns 1 when the message was added, 0 when the queue is full.
-- Changes nothing, but fails when memory is full: after any other write Redis would let the script go on.
redis.call('ZADD', KEYS[1], 'XX', 0, '')
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1

#!lua
-- load.lua: write one chunk of a rebuild into a namespace that nobody reads yet.
--
-- KEYS 1 meta    hash
-- KEYS 2 target  hash or zset that this chunk belongs to
--
-- ARGV 1 chunk   1-based; chunk 1 begins the namespace
-- ARGV 2 replid  of the server that the rebuild began on
-- ARGV 3 type    'hash' or 'zset'
-- ARGV ..        field, value pairs of a hash; score, member pairs of a zset
--
-- Returns {code}; code, in order of precedence:
--   FENCED   not a primary, or another server history than at the start
--   SEALED   the namespace is in use
--   ORDER    a chunk is missing or came twice
--   OK
--
-- Invariant: a namespace in use is never written to.

local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master\r\n', 1, true)
  or not string.find(info, 'master_replid:' .. ARGV[2] .. '\r\n', 1, true) then
  return {'FENCED'}
end
local meta = redis.call('HMGET', KEYS[1], 'state', 'chunks')
if meta[1] and meta[1] ~= 'loading' then return {'SEALED'} end
if tonumber(ARGV[1]) ~= (tonumber(meta[2] or 0) + 1) then return {'ORDER'} end
if #ARGV > 3 then -- first: a wrong type or half a pair fails it
  if ARGV[3] == 'zset' then redis.call('ZADD', KEYS[2], unpack(ARGV, 4))
  else redis.call('HSET', KEYS[2], unpack(ARGV, 4)) end
end
redis.call('HSET', KEYS[1], 'state', 'loading', 'chunks', ARGV[1])
return {'OK'}

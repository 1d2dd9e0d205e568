#!lua
-- seal.lua: finish a rebuild: the namespace is whole and may be published.
--
-- KEYS 1 meta    hash
--
-- ARGV 1 chunks  how many were loaded
-- ARGV 2 replid  of the server that the rebuild began on
-- ARGV 3 epoch   number that this namespace is to have
-- ARGV 4 orders  running count of orders up to here
-- ARGV 5 idem    generation of idempotency keys that was loaded last
-- ARGV 6 keyMs   how long such a key is kept at the least: a generation
--
-- Returns {code}; code, in order of precedence:
--   FENCED   not a primary, or another server history than at the start
--   ORDER    not every chunk is there, or the namespace is sealed already
--   OK
--
-- Invariant: sequence starts at 0; nobody sells here before the ledger names this namespace.

local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master\r\n', 1, true)
  or not string.find(info, 'master_replid:' .. ARGV[2] .. '\r\n', 1, true) then
  return {'FENCED'}
end
local meta = redis.call('HMGET', KEYS[1], 'state', 'chunks')
if meta[1] ~= 'loading' or meta[2] ~= ARGV[1] then return {'ORDER'} end
redis.call('HSET', KEYS[1], 'state', 'open', 'replid', ARGV[2], 'epoch', ARGV[3], 'orders', ARGV[4],
  'sequence', '0', 'time', '0', 'idem', ARGV[5], 'keyMs', ARGV[6])
redis.call('HDEL', KEYS[1], 'chunks')
return {'OK'}

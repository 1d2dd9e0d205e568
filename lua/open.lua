#!lua flags=allow-oom
-- open.lua: let sales go on in a closed namespace that agrees with the ledger (adopt).
--
-- KEYS 1 meta    hash
--
-- ARGV 1 sequence  that the ledger has
-- ARGV 2 replid    that the ledger has published for this partition
-- ARGV 3 attempt   number that the namespace was closed with
--
-- Returns {code}; code, in order of precedence:
--   MISSING  there is no meta
--   FENCED   not a primary, or another server history than the one published
--   STALE    a later attempt has closed it
--   MOVED    meta and ledger disagree on the sequence, or meta was not closed first
--   OK       also where it is open on that history already
--
-- Invariant: opens only the history that the ledger names, at the sequence that the ledger has.

local meta = redis.call('HMGET', KEYS[1], 'state', 'sequence', 'replid', 'attempt')
if not meta[1] then return {'MISSING'} end
local info = redis.call('INFO', 'replication')
if not string.find(info, 'role:master\r\n', 1, true)
  or not string.find(info, 'master_replid:' .. ARGV[2] .. '\r\n', 1, true) then
  return {'FENCED'}
end
if tonumber(meta[4] or 0) ~= tonumber(ARGV[3]) then return {'STALE'} end
if meta[1] == 'open' and meta[3] == ARGV[2] then return {'OK'} end
if meta[1] ~= 'closed' or tonumber(meta[2]) ~= tonumber(ARGV[1]) then return {'MOVED'} end
redis.call('HSET', KEYS[1], 'state', 'open', 'replid', ARGV[2])
return {'OK'}

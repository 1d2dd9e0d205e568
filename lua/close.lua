#!lua flags=allow-oom
-- close.lua: stop every writing script on this epoch, so that its log can be drained to its end.
--
-- KEYS 1 meta    hash
--
-- ARGV 1 attempt  the ledger's number of this attempt to bring the partition in line
--
-- Returns {code, sequence}; code, in order of precedence:
--   MISSING  there is no meta, or it was never sealed; sequence is 0
--   STALE    a later attempt is under way; nothing is done
--   CLOSED   nothing is written in this namespace any more, up to an open
--
-- Invariant: makes no meta where there is none; of two attempts only the later one can open again.

local meta = redis.call('HMGET', KEYS[1], 'state', 'sequence', 'attempt')
if not meta[2] then return {'MISSING', 0} end
if tonumber(meta[3] or 0) > tonumber(ARGV[1]) then return {'STALE', tonumber(meta[2])} end
redis.call('HSET', KEYS[1], 'state', 'closed', 'attempt', ARGV[1])
return {'CLOSED', tonumber(meta[2])}

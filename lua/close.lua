#!lua
-- close.lua: stop every writing script on this epoch, so that its log can be drained to its end.
--
-- KEYS 1 meta    hash
--
-- Returns {code, sequence}; code, in order of precedence:
--   MISSING  there is no meta; sequence is 0
--   CLOSED   nothing is written in this namespace any more, up to an open
--
-- Invariant: makes no meta where there is none.

local meta = redis.call('HMGET', KEYS[1], 'state', 'sequence')
if not meta[1] then return {'MISSING', 0} end
if meta[1] ~= 'closed' then redis.call('HSET', KEYS[1], 'state', 'closed') end
return {'CLOSED', tonumber(meta[2])}

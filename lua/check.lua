#!lua flags=no-writes
-- check.lua: would a writing script be let through, and what time is it there?
--
-- KEYS 1 meta    hash
--
-- ARGV 1 watermark
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders}
--
-- Invariant: writes nothing.
--@include guard.lua

local code, nowMs, meta = guard(KEYS[1], tonumber(ARGV[1]), math.huge)
if code ~= 'OK' then return {code, nowMs} end
return {'OK', nowMs, meta[3], meta[5]}

#!lua flags=no-writes
-- check.lua: would a writing script be let through, and what time is it there?
--
-- KEYS 1 meta    hash
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, replicas}
--   replicas  of this server that are online
--
-- Invariant: writes nothing.
--@include guard.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), math.huge)
if code ~= 'OK' then return {code, nowMs} end
local _, replicas = string.gsub(redis.call('INFO', 'replication'), ',state=online,', '')
return {'OK', nowMs, meta[3], meta[5], replicas}

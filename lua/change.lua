#!lua
-- change.lua: take the next change of one product (its stock, its terms) from the ledger.
--
-- KEYS 1 meta    hash
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 log     stream
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark
-- ARGV 3 deadlineMs
-- ARGV 4 product
-- ARGV 5 number   of this change; 1 creates the product
-- ARGV 6 kind     'add' (amount is added, refused where too little is left) or
--                 'lower' (left is brought down to amount; nothing if it is there already)
-- ARGV 7 amount
-- ARGV 8 terms    the product's terms from now on
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, status, applied}
-- status, in order of precedence:
--   CORRUPT   the counters can't be read
--   REPEATED  this change was taken before; applied is 0
--   GAP       an earlier change is missing; applied is the last one taken
--   REFUSED   less is left than is to be taken away; the number is used up, nothing else changes
--   APPLIED   applied is what was added to current and initial, negative for less
--
-- Invariant: initial = current + held + sold before and after. Changes are taken in the order of their numbers,
-- each once.
--@include guard.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
if code ~= 'OK' then return {code, nowMs} end

local product, number, kind, amount, terms = ARGV[4], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), ARGV[8]
local value = redis.call('HGET', KEYS[2], product)
redis.call('HEXISTS', KEYS[3], product) -- a wrong type is to fail here, before the first write
local current, held, sold, initial, change = string.match(value or '0,0,0,0,0', '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
if not current then return {'OK', nowMs, meta[3], 'CORRUPT', 0} end
change = tonumber(change)
if number <= change then return {'OK', nowMs, meta[3], 'REPEATED', 0} end
if number > change + 1 then return {'OK', nowMs, meta[3], 'GAP', change} end

local applied, status = amount, 'APPLIED'
if kind == 'lower' then applied = math.min(0, amount - current) end
if current + applied < 0 then applied, status = 0, 'REFUSED' end

local sequence = meta[3] + 1
redis.call('XADD', KEYS[4], string.format('%.0f-0', sequence), 'change', string.format('%.0f', nowMs),
  product, string.format('%.0f,%.0f,%s', number, applied, status))
redis.call('HSET', KEYS[1], 'sequence', string.format('%.0f', sequence), 'time', string.format('%.0f', nowMs))
redis.call('HSET', KEYS[2], product,
  string.format('%.0f,%s,%s,%.0f,%.0f', current + applied, held, sold, initial + applied, number))
if status == 'APPLIED' then redis.call('HSET', KEYS[3], product, terms) end
return {'OK', nowMs, sequence, status, applied}

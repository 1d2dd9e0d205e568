#!lua
-- expire.lua: give back what holds past their time have held, the longest due first.
--
-- KEYS 1 meta    hash
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record
-- KEYS 6 log     stream
-- KEYS 7 expiry  zset   order id of a hold -> expiresMs
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark
-- ARGV 3 deadlineMs
-- ARGV 4 maxHolds    how many to look at
-- ARGV 5 postponeMs  when to look again at a hold whose product or buyer can't be read
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, looked at, expired}
--
-- Invariant: initial = current + held + sold before and after. Only a hold ('p') expires, once. An id that is none's
-- leaves the set.
--@include guard.lua
--@include counters.lua
--@include books.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
if code ~= 'OK' then return {code, nowMs} end

local ids = redis.call('ZRANGE', KEYS[7], '-inf', format('%.0f', nowMs), 'BYSCORE', 'LIMIT', '0', ARGV[4])
if #ids == 0 then return {'OK', nowMs, meta[3], meta[5], 0, 0} end

local records = redis.call('HMGET', KEYS[5], unpack(ids))
local holds, names, keys = {}, {}, {}
for i = 1, #ids do
  local o = records[i] and readOrder(records[i])
  if o and o.letter == 'p' then
    o.id = ids[i]
    holds[#holds + 1], names[#holds + 1], keys[#holds + 1] = o, o.product, o.buyer
  end
end

local shelf, buyers = readBooks(KEYS[2], KEYS[3], KEYS[4], names, keys)

local sequence, entry, expired, postponed = meta[3] + 1, {}, 0, {}
for i = 1, #holds do
  local o = holds[i]
  local p, b = shelf[o.product], buyers[o.buyer]
  if p and b and p.held >= o.quantity and b.held >= o.quantity then
    p.held, p.current, p.changed = p.held - o.quantity, p.current + o.quantity, true
    b.held, b.changed = b.held - o.quantity, true
    if b.last == o.id then b.lockUntilMs = 0 end -- as cancel does
    o.letter, o.version = 'e', o.version + 1
    expired = expired + 1
    entry[2 * expired - 1], entry[2 * expired] = o.id, orderText(o, nowMs, sequence, meta[5] + expired)
  else
    postponed[#postponed + 1] = format('%.0f', nowMs + tonumber(ARGV[5]))
    postponed[#postponed + 1] = o.id
  end
end

if expired > 0 then
  redis.call('XADD', KEYS[6], format('%.0f-0', sequence), 'orders', format('%.0f', nowMs), unpack(entry))
  redis.call('HSET', KEYS[1], 'sequence', format('%.0f', sequence), 'time', format('%.0f', nowMs),
    'orders', format('%.0f', meta[5] + expired))
  redis.call('HSET', KEYS[2], unpack(changed(shelf, productText)))
  redis.call('HSET', KEYS[4], unpack(changed(buyers, buyerText)))
  redis.call('HSET', KEYS[5], unpack(entry))
else
  sequence = meta[3]
end
redis.call('ZREM', KEYS[7], unpack(ids))
if #postponed > 0 then redis.call('ZADD', KEYS[7], unpack(postponed)) end
return {'OK', nowMs, sequence, meta[5] + expired, #ids, expired}

#!lua
-- settle.lua: bring orders of one partition to their next state in one atomic step: confirm, cancel, extend.
--
-- KEYS 1 meta    hash   and token -> sequence
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record, or sequence; tokens of the version before
-- KEYS 6 log     stream
-- KEYS 7 expiry  zset   order id of a hold -> expiresMs
--
-- ARGV 1 replid         the server history that the caller has from the ledger
-- ARGV 2 watermark
-- ARGV 3 deadlineMs
-- ARGV 4 lateMs         for how long after its time a hold may still be confirmed; 0 = not at all
-- ARGV 5 maxExtensions  of one hold
-- ARGV 6 maxTotalMs     from the making of a hold to its end, extensions included
-- ARGV ..               for each: order id (16 bytes), action, amount, user, record
--   action is 'c' confirm (amount: units, 0 = all), 'x' cancel (0) or 't' extend (amount: expiresMs that is wanted);
--   user is whose order it must be, empty = anybody's; record is what the ledger has of it, empty = not asked. A record
--   of Redis goes before it.
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, due, statuses, details ..}
-- due is 1 where a late confirm found too little stock while holds are due: once expire.lua has run, asking again may
-- help. A hold ('p') that only the ledger has is G before anything else but M: Redis has every hold.
-- statuses has one letter an order, in order of precedence; all but M add its record to details, in turn:
--   M missing   no such order, or another buyer's
--   X corrupt   what Redis has of the order, its product or its buyer can't be read, or does not add up
--   R repeated  it is so already, or was extended by as much a moment ago
--   V invalid   no way leads there from its state
--   G gone      the hold is over, and what it had can't be had any more
--   Q quantity  more than the order has
--   S sold_out  a late confirm finds too few units
--   B bound     one extension too many, or too far from the hold's beginning
--   H hold      an extension longer than the product allows
--   A done
--
-- Invariant: initial = current + held + sold before and after, for every product. What an order gives back it gives back
-- once. The XADD is the first write.
--@include guard.lua
--@include counters.lua
--@include entries.lua
--@include books.lua

local ids, tokens, asked, n = {}, {}, {}, 0
for a = 7, #ARGV, 5 do
  n = n + 1
  ids[n], tokens[n] = ARGV[a], tokenOf(ARGV[a])
  asked[2 * n - 1], asked[2 * n] = ids[n], tokens[n]
end

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), unpack(tokens))
if code ~= 'OK' then return {code, nowMs} end

local lateMs, maxExtensions, maxTotalMs = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local ordersRead = redis.call('HMGET', KEYS[5], unpack(asked))
local function entryAt(id) return redis.call('XRANGE', KEYS[6], id, id) end
redis.call('ZCARD', KEYS[7]) -- a wrong type is to fail here, before the first write

-- kept is the record that Redis has of an order: under its own id, or that of a sale which its token leads to.
local function kept(i)
  local own, byToken = ordersRead[2 * i - 1], meta[5 + i] or ordersRead[2 * i]
  if own then return recordOf(ids[i], own, entryAt) end
  return byToken and soldOf(ids[i], byToken, entryAt) or nil
end

local orders, names, keys = {}, {}, {}
for i = 1, n do
  local known = orders[ids[i]] == nil and kept(i)
  local record = known or ARGV[6 + i * 5]
  if record ~= '' and orders[ids[i]] == nil then
    local o = readOrder(record) or {letter = 'unreadable', record = record}
    o.id, o.record, o.brought = ids[i], record, not known
    orders[o.id] = o
    if o.product then names[#names + 1], keys[#keys + 1] = o.product, o.buyer end
  end
end

local shelf, buyers = readBooks(KEYS[2], KEYS[3], KEYS[4], names, keys)

-- addsUp tells whether product and buyer have at least what the order has of them.
local function addsUp(o, p, b)
  if o.letter == 'p' then return p.held >= o.quantity and b.held >= o.quantity end
  if o.letter == 'c' then return p.sold >= o.quantity and b.bought >= o.quantity end
  return true
end

-- giveBack puts the units of a hold or a sale on sale again.
local function giveBack(o, p, b)
  p.current = p.current + o.quantity
  if o.letter == 'p' then p.held, b.held = p.held - o.quantity, b.held - o.quantity
  else p.sold, b.bought = p.sold - o.quantity, b.bought - o.quantity end
end

local function cancel(o, _, p, b)
  if o.letter == 'x' then return 'R' end
  if o.letter ~= 'p' and o.letter ~= 'c' then return 'V' end
  giveBack(o, p, b)
  if b.last == o.id then b.lockUntilMs = 0 end
  o.letter = 'x'
  return 'A'
end

-- confirmLate sells what a hold had that is over, if everything allows it as for a new order.
local function confirmLate(o, quantity, p, b)
  local held = o.letter == 'p' and o.quantity or 0
  local t = p.terms
  if nowMs >= o.expiresMs + lateMs or not t.active or nowMs < t.startsMs or t.endsMs > 0 and nowMs >= t.endsMs then
    return 'G'
  end
  if t.limit > 0 and b.bought + b.held - held + quantity > t.limit then return 'G' end
  if quantity > o.quantity then return 'Q' end
  if quantity > p.current + held then return 'S' end
  p.held, b.held = p.held - held, b.held - held
  p.current, p.sold, b.bought = p.current + held - quantity, p.sold + quantity, b.bought + quantity
  o.letter, o.quantity = 'c', quantity
  return 'A'
end

local function confirm(o, amount, p, b)
  local quantity = amount > 0 and amount or o.quantity
  if o.letter == 'c' then return quantity == o.quantity and 'R' or 'V' end
  if o.letter ~= 'p' and o.letter ~= 'e' then return 'V' end
  if o.letter == 'e' or o.expiresMs <= nowMs then return confirmLate(o, quantity, p, b) end
  if quantity > o.quantity then return 'Q' end
  giveBack(o, p, b)
  p.current, p.sold, b.bought = p.current - quantity, p.sold + quantity, b.bought + quantity
  o.letter, o.quantity = 'c', quantity
  return 'A'
end

-- An extension by as much as the last one, asked for within repeatMs of it, is the last one: its answer was lost, or
-- somebody clicked twice. slackMs is by how much the two may have been on their way for unequal times: less than half of
-- the second by which two wishes differ at least.
local repeatMs, slackMs = 30000, 500

local function again(o, untilMs)
  if o.version <= 1 or nowMs - o.updatedMs > repeatMs then return false end
  return math.abs((untilMs - nowMs) - (o.expiresMs - o.updatedMs)) <= slackMs
end

-- extend never shortens. A hold's version counts its extensions, from 1.
local function extend(o, untilMs, p)
  if o.letter == 'e' or o.letter == 'p' and o.expiresMs <= nowMs then return 'G' end
  if o.letter ~= 'p' then return 'V' end
  if untilMs <= o.expiresMs or again(o, untilMs) then return 'R' end
  if o.version > maxExtensions or untilMs > o.createdMs + maxTotalMs then return 'B' end
  if p.terms.holdMs > 0 and untilMs - nowMs > p.terms.holdMs then return 'H' end
  o.expiresMs = untilMs
  return 'A'
end

local actions = {c = confirm, x = cancel, t = extend}

local function settle(o, a)
  if not o or ARGV[a + 3] ~= '' and o.user and ARGV[a + 3] ~= o.user then return 'M' end
  if o.brought and o.letter == 'p' then return 'G' end -- Redis has every hold: this one holds nothing
  local p, b = shelf[o.product or ''], buyers[o.buyer or '']
  if not p or not b or not addsUp(o, p, b) then return 'X' end
  local held = o.letter == 'p'
  local status = actions[ARGV[a + 1]](o, tonumber(ARGV[a + 2]), p, b)
  if status == 'A' then
    o.version, o.updatedMs, o.wasHeld, o.brought = o.version + 1, nowMs, o.wasHeld or held, false
    o.changed, p.changed, b.changed = true, true, true
  end
  return status
end

local statuses, details = {}, {}
local sequence, entry, logged, tight = meta[3] + 1, {}, 0, false
for i = 1, n do
  local o = orders[ids[i]]
  local status = settle(o, 2 + i * 5)
  if status == 'A' then
    logged = logged + 1
    o.record = orderText(o, nowMs, sequence, meta[5] + logged)
    entry[2 * logged - 1], entry[2 * logged] = o.id, o.record
  end
  statuses[i], tight = status, tight or status == 'S'
  if status ~= 'M' then details[#details + 1] = o.record end
end

local due = 0
if tight then due = #redis.call('ZRANGE', KEYS[7], '-inf', text(nowMs), 'BYSCORE', 'LIMIT', '0', '1') end

if logged > 0 then
  local ordersWrite, expiryAdd, expiryRemove = {}, {}, {}
  for id, o in pairs(orders) do
    if o.changed then
      ordersWrite[#ordersWrite + 1] = id
      ordersWrite[#ordersWrite + 1] = o.record
      if o.letter == 'p' then
        expiryAdd[#expiryAdd + 1] = text(o.expiresMs)
        expiryAdd[#expiryAdd + 1] = id
      elseif o.wasHeld then
        expiryRemove[#expiryRemove + 1] = id
      end
    end
  end
  redis.call('XADD', KEYS[6], format('%.0f-0', sequence), 'orders', format('%.0f', nowMs), unpack(entry))
  redis.call('HSET', KEYS[1], 'sequence', format('%.0f', sequence), 'time', format('%.0f', nowMs),
    'orders', format('%.0f', meta[5] + logged))
  redis.call('HSET', KEYS[2], unpack(changed(shelf, productText)))
  redis.call('HSET', KEYS[4], unpack(changed(buyers, buyerText)))
  redis.call('HSET', KEYS[5], unpack(ordersWrite))
  if #expiryAdd > 0 then redis.call('ZADD', KEYS[7], unpack(expiryAdd)) end
  if #expiryRemove > 0 then redis.call('ZREM', KEYS[7], unpack(expiryRemove)) end
else
  sequence = meta[3]
end

local reply = {'OK', nowMs, sequence, meta[5] + logged, due, table.concat(statuses)}
for i = 1, #details do reply[6 + i] = details[i] end
return reply

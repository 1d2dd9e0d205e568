#!lua
-- reserve.lua: decide a batch of orders of one partition in one atomic step: sold at once, or held.
--
-- KEYS 1 meta    hash   state, replid, sequence, time, orders, idem, keyMs
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record
-- KEYS 6 log     stream one entry a change of state
-- KEYS 7 expiry  zset   order id of a hold -> expiresMs
-- KEYS 8 even    hash   idempotency field -> order id (16 bytes), createdMs,request; of even generations
-- KEYS 9 odd     hash   the same of odd generations
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark   sequence that the caller knows to be in the ledger
-- ARGV 3 deadlineMs  in this server's time
-- ARGV 4 lockMs      buyer lock, 0 = off
-- ARGV 5 maxQuantity
-- ARGV 6 products    how many product names follow
-- ARGV 7 wishes      how many wishes follow them
-- ARGV ..            the product names
-- ARGV ..            for each wish: order (1-based place), holdMs (0 = sell at once), idempotency field, request, key
--                    (the three empty where there is no key)
-- ARGV ..            for each order: id (16 bytes), product (1-based place), product|user, quantity
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, due, statuses, left of each product (-1 = unknown) .., details ..}
-- due is 1 where an order was refused for stock, or for what its buyer holds, while holds are due: once expire.lua has
-- run, asking again may help.
-- statuses has one letter an order, in order of precedence; a letter with a detail adds one to details, in turn:
--   R replayed      this order id was decided before; detail: its record
--   K key           a request with this key was accepted before; detail: what the hash of keys has of it
--   C conflict      a request with this key was accepted before, and asked for something else
--   U unknown       no such product
--   X corrupt       what Redis has of the product or the buyer can't be read
--   Q quantity      not an integer from 1 to maxQuantity
--   I inactive      the sale is switched off
--   N not_started   detail: startsMs
--   E ended
--   H hold          longer than the product allows; detail: holdMs of the product
--   D duplicate     inside the buyer lock, without a key; detail: lockUntilMs,first order id
--   L limit         detail: units the buyer already has
--   S sold_out
--   A accepted
--
-- Invariant: initial = current + held + sold before and after, for every product. Nothing is written unless an
-- order is accepted; the XADD is the first write, so a refused append leaves no trace.
--@include guard.lua
--@include books.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
if code ~= 'OK' then return {code, nowMs} end

local lockMs, maxQuantity = tonumber(ARGV[4]), tonumber(ARGV[5])
local products, wished = tonumber(ARGV[6]), tonumber(ARGV[7])
local call = redis.call

local names, ids, buyerKeys = {}, {}, {}
for i = 1, products do names[i] = ARGV[7 + i] end

local wishes, fields = {}, {}
for a = 7 + products, 2 + products + 5 * wished, 5 do
  local wish = {holdMs = tonumber(ARGV[a + 2]), field = ARGV[a + 3], request = ARGV[a + 4], key = ARGV[a + 5]}
  wishes[tonumber(ARGV[a + 1])] = wish
  if wish.field ~= '' then fields[#fields + 1] = wish.field end
end

local first = 8 + products + 5 * wished
local n = 0
for a = first, #ARGV, 4 do
  n = n + 1
  ids[n], buyerKeys[n] = ARGV[a], ARGV[a + 2]
end

local stockRead = call('HMGET', KEYS[2], unpack(names))
local termsRead = call('HMGET', KEYS[3], unpack(names))
local buyersRead = call('HMGET', KEYS[4], unpack(buyerKeys))
local ordersRead = call('HMGET', KEYS[5], unpack(ids))

-- Keys live in two hashes that take turns: each is emptied when its next generation begins, so a key is kept for one
-- generation (keyMs, the same for all callers) at the least and for two at the most. stored is the generation that wrote
-- last.
local known, generation, stored = {}, 0, 0
if #fields > 0 then
  local kept = call('HMGET', KEYS[1], 'idem', 'keyMs')
  generation, stored = math.floor(nowMs / tonumber(kept[2])), tonumber(kept[1])
  local this, last = call('HMGET', KEYS[8], unpack(fields)), call('HMGET', KEYS[9], unpack(fields))
  if generation % 2 == 1 then this, last = last, this end
  for i = 1, #fields do
    local value = stored == generation and this[i]
    if not value and (stored == generation or stored == generation - 1) then value = last[i] end
    known[fields[i]] = value
  end
end

-- whatKey compares a request with the earlier one of its key.
local function whatKey(earlier, wish)
  if match(string.sub(earlier, 17), '^%d+,(.*)$') == wish.request then return 'K', earlier end
  return 'C'
end

local shelf = {}
for i = 1, products do
  local p = readProduct(stockRead[i], termsRead[i])
  if not p then p = {refusal = stockRead[i] and 'X' or 'U', current = -1}
  elseif not p.active then p.refusal = 'I'
  elseif nowMs < p.startsMs then p.refusal, p.detail = 'N', p.startsMs
  elseif p.endsMs > 0 and nowMs >= p.endsMs then p.refusal = 'E' end
  shelf[i] = p
end

local function decide(quantity, p, b, wish)
  if p.refusal == 'U' or p.refusal == 'X' then return p.refusal end
  if not b then return 'X' end
  if not quantity or quantity < 1 or quantity > maxQuantity or quantity % 1 ~= 0 then return 'Q' end
  if p.refusal then return p.refusal, p.detail end
  if wish and p.holdMs > 0 and wish.holdMs > p.holdMs then return 'H', p.holdMs end
  if lockMs > 0 and nowMs < b.lockUntilMs and not (wish and wish.key ~= '') then
    return 'D', format('%.0f,', b.lockUntilMs) .. b.last
  end
  if p.limit > 0 and b.bought + b.held + quantity > p.limit then return 'L', b.bought + b.held end
  if quantity > p.current then return 'S' end
  return 'A'
end

local buyers, seen = {}, {}
local statuses, details = {}, {}
local sequence = meta[3] + 1
local stamp = format(',%.0f,%.0f,', nowMs, nowMs)
local place = format(',%.0f,', sequence)
local soldStamp = stamp .. '0' .. place
local entry, accepted, tight = {}, 0, false
local expiryWrite, keysWrite = {}, {}

-- accept takes the units and returns the order's record.
local function accept(id, quantity, p, b, wish, buyerKey)
  p.current, p.changed = p.current - quantity, true
  b.last, b.lockUntilMs, b.changed = id, nowMs + lockMs, true
  local number = text(meta[5] + accepted + 1) .. ',' .. buyerKey
  if not wish then
    p.sold, b.bought = p.sold + quantity, b.bought + quantity
    return 'c,1,' .. text(quantity) .. soldStamp .. number
  end
  if wish.key ~= '' then
    number = number .. '|' .. wish.request .. '|' .. wish.key
    known[wish.field] = id .. format('%.0f,', nowMs) .. wish.request
    keysWrite[#keysWrite + 1] = wish.field
    keysWrite[#keysWrite + 1] = known[wish.field]
  end
  if wish.holdMs == 0 then
    p.sold, b.bought = p.sold + quantity, b.bought + quantity
    return 'c,1,' .. text(quantity) .. soldStamp .. number
  end
  p.held, b.held = p.held + quantity, b.held + quantity
  local expiresMs = text(nowMs + wish.holdMs)
  expiryWrite[#expiryWrite + 1] = expiresMs
  expiryWrite[#expiryWrite + 1] = id
  return 'p,1,' .. text(quantity) .. stamp .. expiresMs .. place .. number
end

for i = 1, n do
  local id, wish = ids[i], wishes[i]
  local record = ordersRead[i] or seen[id]
  local earlier = wish and known[wish.field]
  local status, detail
  if record then
    status, detail = 'R', record
  elseif earlier then
    status, detail = whatKey(earlier, wish)
  else
    local a = first + (i - 1) * 4
    local p, quantity, key = shelf[tonumber(ARGV[a + 1])], tonumber(ARGV[a + 3]), buyerKeys[i]
    local b = buyers[key]
    if b == nil then
      b = readBuyer(buyersRead[i]) or false
      buyers[key] = b
    end
    status, detail = decide(quantity, p, b, wish)
    if status == 'A' then
      record = accept(id, quantity, p, b, wish, key)
      seen[id] = record
      entry[2 * accepted + 1], entry[2 * accepted + 2] = id, record
      accepted = accepted + 1
    elseif status == 'S' then
      tight = tight or p.held > 0
    elseif status == 'L' then
      tight = tight or b.held > 0
    end
  end
  statuses[i] = status
  if detail then details[#details + 1] = detail end
end

local due = 0
if tight or #expiryWrite > 0 then -- the latter so that a wrong type fails before the first write
  local soonest = call('ZRANGE', KEYS[7], '-inf', text(nowMs), 'BYSCORE', 'LIMIT', '0', '1')
  if tight then due = #soonest end
end

local orders = meta[5] + accepted
if accepted > 0 then
  local stockWrite = {}
  for i = 1, products do
    local p = shelf[i]
    if p.changed then
      stockWrite[#stockWrite + 1] = names[i]
      stockWrite[#stockWrite + 1] = productText(p)
    end
  end
  call('XADD', KEYS[6], format('%.0f-0', sequence), 'orders', format('%.0f', nowMs), unpack(entry))
  call('HSET', KEYS[1], 'sequence', format('%.0f', sequence), 'time', format('%.0f', nowMs),
    'orders', format('%.0f', orders))
  call('HSET', KEYS[2], unpack(stockWrite))
  call('HSET', KEYS[4], unpack(changed(buyers, buyerText)))
  call('HSET', KEYS[5], unpack(entry))
  if #expiryWrite > 0 then call('ZADD', KEYS[7], unpack(expiryWrite)) end
  if #keysWrite > 0 then
    if stored ~= generation then
      if generation % 2 == 0 or stored ~= generation - 1 then call('UNLINK', KEYS[8]) end
      if generation % 2 == 1 or stored ~= generation - 1 then call('UNLINK', KEYS[9]) end
      call('HSET', KEYS[1], 'idem', format('%.0f', generation))
    end
    if generation % 2 == 0 then call('HSET', KEYS[8], unpack(keysWrite))
    else call('HSET', KEYS[9], unpack(keysWrite)) end
  end
else
  sequence = meta[3]
end

local reply = {'OK', nowMs, sequence, orders, due, table.concat(statuses)}
for i = 1, products do reply[6 + i] = shelf[i].current end
for i = 1, #details do reply[6 + products + i] = details[i] end
return reply

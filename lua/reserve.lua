#!lua
-- reserve.lua: decide a batch of orders of one partition in one atomic step.
--
-- KEYS 1 meta    hash   state, replid, sequence, time, orders
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record
-- KEYS 6 log     stream one entry a change of state
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark   sequence that the caller knows to be in the ledger
-- ARGV 3 deadlineMs  in this server's time
-- ARGV 4 lockMs      buyer lock, 0 = off
-- ARGV 5 maxQuantity
-- ARGV 6 products    how many product names follow
-- ARGV ..            the product names
-- ARGV ..            for each order: id (16 bytes), product (1-based index), product|user, quantity
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, statuses, left of each product (-1 = unknown) .., details ..}
-- statuses has one letter an order, in order of precedence; a letter with a detail adds one to details, in turn:
--   R replayed      this order id was decided before; detail: its record
--   U unknown       no such product
--   X corrupt       what Redis has of the product or the buyer can't be read
--   Q quantity      not an integer from 1 to maxQuantity
--   I inactive      the sale is switched off
--   N not_started   detail: startsMs
--   E ended
--   D duplicate     inside the buyer lock; detail: lockUntilMs,first order id
--   L limit         detail: units the buyer already has
--   S sold_out
--   A accepted
--
-- Invariant: initial = current + held + sold before and after, for every product. Nothing is written unless an
-- order is accepted; the XADD is the first write, so a refused append leaves no trace.
--@include guard.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
if code ~= 'OK' then return {code, nowMs} end

local lockMs, maxQuantity, products = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local match, call = string.match, redis.call

-- text formats a count, each only once a batch: most numbers of a batch are the same few.
local texts = {}
local function text(n)
  local t = texts[n]
  if not t then
    t = string.format('%.0f', n)
    texts[n] = t
  end
  return t
end

local first = 7 + products

local names, ids, buyerKeys = {}, {}, {}
for i = 1, products do names[i] = ARGV[6 + i] end
local n = 0
for a = first, #ARGV, 4 do
  n = n + 1
  ids[n] = ARGV[a]
  buyerKeys[n] = ARGV[a + 2]
end

local stockRead = call('HMGET', KEYS[2], unpack(names))
local termsRead = call('HMGET', KEYS[3], unpack(names))
local buyersRead = call('HMGET', KEYS[4], unpack(buyerKeys))
local ordersRead = call('HMGET', KEYS[5], unpack(ids))

local function readProduct(i)
  if not stockRead[i] then return {refusal = 'U', left = -1} end
  local current, held, sold, initial, change = match(stockRead[i], '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
  local limit, active, startsMs, endsMs, holdMs = match(termsRead[i] or '', '^(%d+),([01]),(%d+),(%d+),(%d+)$')
  if not current or not limit then return {refusal = 'X', left = -1} end
  local p = {
    left = tonumber(current), held = held, sold = tonumber(sold), initial = initial, change = change,
    limit = tonumber(limit),
  }
  startsMs, endsMs = tonumber(startsMs), tonumber(endsMs)
  if active == '0' then p.refusal = 'I'
  elseif nowMs < startsMs then p.refusal, p.detail = 'N', startsMs
  elseif endsMs > 0 and nowMs >= endsMs then p.refusal = 'E' end
  return p
end

local function readBuyer(value)
  if not value then return {bought = 0, held = 0, lockUntilMs = 0} end
  local bought, held, lockUntilMs, last = match(value, '^(%d+),(%d+),(%d+),(.*)$')
  if not bought then return {corrupt = true} end
  return {bought = tonumber(bought), held = tonumber(held), lockUntilMs = tonumber(lockUntilMs), last = last}
end

local shelf = {}
for i = 1, products do shelf[i] = readProduct(i) end

local buyers, seen = {}, {}
local statuses, details = {}, {}
local sequence = meta[3] + 1
local stamp = string.format(',%.0f,%.0f,0,%.0f,', nowMs, nowMs, sequence)
local entry, accepted = {}, 0

local function decide(quantity, p, b)
  if p.refusal == 'U' or p.refusal == 'X' then return p.refusal end
  if b.corrupt then return 'X' end
  if not quantity or quantity < 1 or quantity > maxQuantity or quantity % 1 ~= 0 then return 'Q' end
  if p.refusal then return p.refusal, p.detail end
  if lockMs > 0 and nowMs < b.lockUntilMs then
    return 'D', string.format('%.0f,', b.lockUntilMs) .. b.last
  end
  if p.limit > 0 and b.bought + b.held + quantity > p.limit then return 'L', b.bought + b.held end
  if quantity > p.left then return 'S' end
  return 'A'
end

for i = 1, n do
  local record = ordersRead[i] or seen[ids[i]]
  local status, detail
  if record then
    status, detail = 'R', record
  else
    local a = first + (i - 1) * 4
    local p, quantity, key = shelf[tonumber(ARGV[a + 1])], tonumber(ARGV[a + 3]), buyerKeys[i]
    local b = buyers[key]
    if not b then
      b = readBuyer(buyersRead[i])
      buyers[key] = b
    end
    status, detail = decide(quantity, p, b)
    if status == 'A' then
      p.left, p.sold, p.changed = p.left - quantity, p.sold + quantity, true
      b.bought, b.last, b.lockUntilMs, b.changed = b.bought + quantity, ids[i], nowMs + lockMs, true
      record = 'c,1,' .. text(quantity) .. stamp .. text(accepted) .. ',' .. key
      seen[ids[i]] = record
      entry[2 * accepted + 1], entry[2 * accepted + 2] = ids[i], record
      accepted = accepted + 1
    end
  end
  statuses[i] = status
  if detail then details[#details + 1] = detail end
end

local orders = meta[5] + accepted
if accepted > 0 then
  local stockWrite, buyersWrite = {}, {}
  for i = 1, products do
    local p = shelf[i]
    if p.changed then
      stockWrite[#stockWrite + 1] = names[i]
      stockWrite[#stockWrite + 1] = string.format('%.0f,%s,%.0f,%s,%s', p.left, p.held, p.sold, p.initial, p.change)
    end
  end
  for key, b in pairs(buyers) do
    if b.changed then
      buyersWrite[#buyersWrite + 1] = key
      buyersWrite[#buyersWrite + 1] = text(b.bought) .. ',' .. text(b.held) .. ',' .. text(b.lockUntilMs) .. ',' .. b.last
    end
  end
  call('XADD', KEYS[6], string.format('%.0f-0', sequence), 'orders', string.format('%.0f', nowMs), unpack(entry))
  call('HSET', KEYS[1], 'sequence', string.format('%.0f', sequence), 'time', string.format('%.0f', nowMs),
    'orders', string.format('%.0f', orders))
  call('HSET', KEYS[2], unpack(stockWrite))
  call('HSET', KEYS[4], unpack(buyersWrite))
  call('HSET', KEYS[5], unpack(entry))
else
  sequence = meta[3]
end

local reply = {'OK', nowMs, sequence, orders, table.concat(statuses)}
for i = 1, products do reply[5 + i] = shelf[i].left end
for i = 1, #details do reply[5 + products + i] = details[i] end
return reply

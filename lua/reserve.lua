#!lua
-- reserve.lua: decide a batch of orders of one partition in one atomic step: sold at once, or held.
--
-- KEYS 1 meta    hash   state, replid, sequence, time, orders, idem, keyMs; token -> sequence
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record, or sequence
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
-- ARGV 6 products    how many products follow
-- ARGV 7 wishes      how many wishes follow them
-- ARGV 8 ids         of all orders, run after run: the 10 bytes that they begin with, all alike (the token), then the other 6 of
--                    each, no two alike. A repeated attempt has the token of the first, and the same id for the same order
-- ARGV 9 runs        of orders for one product and one quantity, 7 bytes a run, whole numbers whose high bytes come first: the place
--                    of the product (2 bytes, from 1), the quantity (3, zero for what is none), how many orders (2)
-- ARGV ..            products, each once
-- ARGV ..            for each wish: order (1-based place), holdMs (0 = sell at once), idempotency field, request, key
--                    (the three empty where there is no key)
-- ARGV ..            product|user of each order, run after run
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, due, statuses, left of each product, in their order (-1 = unknown) .., details ..}
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
-- Orders that are sold at once share one field of meta: token -> sequence. Where the token is there already, what its
-- entry has was decided before; what is accepted beside that has a field of its own, order id -> sequence, for either an
-- attempt comes again of which some orders were refused, or another batch has the same token by chance.
--
-- Invariant: initial = current + held + sold before and after, for every product. Nothing is written unless an
-- order is accepted; the XADD is the first write, so a refused append leaves no trace. An order id has one effect, as long as
-- neither the entry that has it nor that of its token was trimmed.
--@include guard.lua
--@include counters.lua

local ids = ARGV[8]
local token = sub(ids, 1, 10)
local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), token)
if code ~= 'OK' then return {code, nowMs} end

local lockMs, maxQuantity = tonumber(ARGV[4]), tonumber(ARGV[5])
local products, wished = tonumber(ARGV[6]), tonumber(ARGV[7])
local taken = meta[6] -- the entry that has the token
local runs = ARGV[9]
local call, find, concat, byte = redis.call, string.find, table.concat, string.byte
local wishAt = 9 + products
local buyerAt = wishAt + 5 * wished
local n = #ARGV - buyerAt

local names = {unpack(ARGV, 10, wishAt)}

local wishes, fields = {}, {} -- by their orders' places; idempotency fields
for a = wishAt, buyerAt - 5, 5 do
  local wish = {holdMs = tonumber(ARGV[a + 2]), field = ARGV[a + 3], request = ARGV[a + 4], key = ARGV[a + 5]}
  wishes[tonumber(ARGV[a + 1])] = wish
  if wish.field ~= '' then fields[#fields + 1] = wish.field end
end

local stockRead = call('HMGET', KEYS[2], unpack(names))
local termsRead = call('HMGET', KEYS[3], unpack(names))
local buyersRead = call('HMGET', KEYS[4], unpack(ARGV, buyerAt + 1, buyerAt + n))

-- entryReaders makes what it takes to read entries, for few calls have to.
local function entryReaders()
  --@include entries.lua
  return readAccepted, entryOf, recordOf
end

-- decidedBefore has the records of orders that were decided before, by their places. It asks for those with a wish by their
-- ids and, where the token is there, for all.
local function decidedBefore()
  local _, entryOf, recordOf = entryReaders()
  local function entryAt(id) return call('XRANGE', KEYS[6], id, id) end
  local places, asked, decided = {}, {}, {}
  for i = 1, n do
    if taken or wishes[i] then places[#places + 1], asked[#asked + 1] = i, token .. sub(ids, 6 * i + 5, 6 * i + 10) end
  end
  local ordersRead = call('HMGET', KEYS[5], unpack(asked))
  local entry = taken and entryOf(taken, entryAt)
  for k = 1, #asked do
    local id, kept = asked[k], ordersRead[k]
    if kept then decided[places[k]] = recordOf(id, kept, entryAt)
    elseif entry then decided[places[k]] = entry.sold[id] or entry.granted[id] or not entry.all and taken or nil end
  end
  return decided
end
local decided = (taken or wished > 0) and decidedBefore() or {}

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

local shelf, met = {}, {} -- the products, by their places
for k = 1, products do
  local p = readProduct(stockRead[k], termsRead[k])
  if not p then p = {unknown = stockRead[k] and 'X' or 'U', current = -1, terms = {}}
  elseif not p.terms.active then p.refusal = 'I'
  elseif nowMs < p.terms.startsMs then p.refusal, p.detail = 'N', p.terms.startsMs
  elseif p.terms.endsMs > 0 and nowMs >= p.terms.endsMs then p.refusal = 'E' end
  if met[names[k]] then error('a product comes twice') end -- its units would count twice
  shelf[k], met[names[k]] = p, true
end

local sequence, accepted = meta[3] + 1, 0
local ms, place, lockUntilMs = text(nowMs), text(sequence), nowMs + lockMs
local lock = ',0,' .. text(lockUntilMs) .. ',' .. token -- stands in what is written of a new buyer
local statuses, details, tight = {}, {}, false
local soldAny = false -- without a wish
local rests, entry = {token}, {} -- of the orders that are accepted: their ids, and what else the log is told of them
local buyers, people = {}, {}    -- key -> what the buyer has, or where in buyersWrite that is; those that have been read
local buyersWrite, ordersWrite, expiryWrite, keysWrite = {}, {}, {}, {}

-- The row: orders one after another that are sold at once, each for the same quantity, whatever the products.
local from, quantity, units = 1, nil, nil -- its first order; the quantity, and in digits

-- sell has the entry say that the orders of the row were sold, the last of which is given.
local function sell(to)
  local orders = to - from + 1
  if orders == 0 then return end
  rests[#rests + 1] = sub(ids, 6 * from + 5, 6 * to + 10)
  entry[#entry + 1] = units
  entry[#entry + 1] = concat(ARGV, ' ', buyerAt + from, buyerAt + to)
  statuses[#statuses + 1] = string.rep('A', orders)
  accepted = accepted + orders
  soldAny = true
end

-- grant accepts an order that asks for more than to be sold at once: it is held, or known by its key.
local function grant(rest, key, p, b, wish)
  local id, tail, letter, expires = token .. rest, '', 'c', '0'
  if wish.key ~= '' then
    tail = '|' .. wish.request .. '|' .. wish.key
    known[wish.field] = id .. ms .. ',' .. wish.request
    keysWrite[#keysWrite + 1] = wish.field
    keysWrite[#keysWrite + 1] = known[wish.field]
  end
  if wish.holdMs > 0 then
    letter, expires = 'p', text(nowMs + wish.holdMs)
    expiryWrite[#expiryWrite + 1] = expires
    expiryWrite[#expiryWrite + 1] = id
    p.held, b.held = p.held + quantity, b.held + quantity
  else
    p.sold, b.bought = p.sold + quantity, b.bought + quantity
  end
  accepted = accepted + 1
  local record = letter .. ',1,' .. units .. ',' .. ms .. ',' .. ms .. ',' .. expires .. ',' .. place .. ','
    .. text(meta[5] + accepted) .. ',' .. key .. tail
  rests[#rests + 1] = rest
  entry[#entry + 1] = 'record'
  entry[#entry + 1] = record
  ordersWrite[#ordersWrite + 1] = id
  ordersWrite[#ordersWrite + 1] = record
end

local i = 1 -- the order whose turn it is
for run = 1, #runs, 7 do
  local p2, p1, q3, q2, q1, n2, n1 = byte(runs, run, run + 6)
  local p, asked = shelf[256 * p2 + p1], 65536 * q3 + 256 * q2 + q1
  local last = i + 256 * n2 + n1 - 1
  local t, refusal, refusalDetail = p.terms, p.refusal, p.detail
  if asked < 1 or asked > maxQuantity then refusal, refusalDetail = 'Q', nil end
  if asked ~= quantity then
    sell(i - 1)
    from, quantity, units = i, asked, text(asked)
  end
  local plain = not taken and not p.unknown and not refusal and (t.limit == 0 or quantity <= t.limit)
  while i <= last do

    -- Most orders are sold at once, to buyers whom Redis has not met.
    local left, at = p.current, #buyersWrite
    while plain and i <= last and quantity <= left do
      local key, rest = ARGV[buyerAt + i], sub(ids, 6 * i + 5, 6 * i + 10)
      if buyersRead[i] or wishes[i] or buyers[key] ~= nil or find(ids, rest, 1, true) ~= 6 * i + 5 then break end
      left, at = left - quantity, at + 2
      buyersWrite[at - 1], buyersWrite[at] = key, units .. lock .. rest
      buyers[key] = at
      i = i + 1
    end
    if left ~= p.current then p.sold, p.current, p.changed = p.sold + p.current - left, left, true end

    if i <= last then -- any other
      local key, rest, wish = ARGV[buyerAt + i], sub(ids, 6 * i + 5, 6 * i + 10), wishes[i]
      local before, earlier = decided[i], wish and known[wish.field]
      if not before and find(ids, rest, 1, true) ~= 6 * i + 5 then -- it may be one of those before it
        sell(i - 1)
        from = i
        local readAccepted = entryReaders()
        local e = readAccepted({'accepted', ms, text(meta[5]), concat(rests), unpack(entry)}, place)
        before = e.sold[token .. rest] or e.granted[token .. rest]
      end
      local status, detail, b
      if before then
        status, detail = 'R', before
      elseif earlier then
        status, detail = 'C', nil
        if match(sub(earlier, 17), '^%d+,(.*)$') == wish.request then status, detail = 'K', earlier end
      else
        b = buyers[key]
        if b == nil or type(b) == 'number' then
          local value = buyersRead[i]
          if b then value = buyersWrite[b] end
          local read = readBuyer(value) or false
          if read then
            read.key, read.at = key, b
            people[#people + 1] = read
          end
          b = read
          buyers[key] = b
        end
        if p.unknown then status = p.unknown
        elseif not b then status = 'X'
        elseif refusal then status, detail = refusal, refusalDetail
        elseif wish and t.holdMs > 0 and wish.holdMs > t.holdMs then status, detail = 'H', t.holdMs
        elseif lockMs > 0 and nowMs < b.lockUntilMs and not (wish and wish.key ~= '') then
          status, detail = 'D', text(b.lockUntilMs) .. ',' .. b.last
        elseif t.limit > 0 and b.bought + b.held + quantity > t.limit then
          status, detail, tight = 'L', b.bought + b.held, tight or b.held > 0
        elseif quantity > p.current then
          status, tight = 'S', tight or p.held > 0
        else
          status = 'A'
          p.current, p.changed = p.current - quantity, true
          b.last, b.lockUntilMs, b.changed = token .. rest, lockUntilMs, true
        end
      end
      if status == 'A' and not wish then
        b.bought, p.sold = b.bought + quantity, p.sold + quantity
        if taken then
          ordersWrite[#ordersWrite + 1] = token .. rest
          ordersWrite[#ordersWrite + 1] = place
        end
      else
        sell(i - 1)
        from = i + 1
        if status == 'A' then grant(rest, key, p, b, wish) end
        statuses[#statuses + 1] = status
        if detail then details[#details + 1] = detail end
      end
      i = i + 1
    end
  end
end
if i ~= n + 1 then error('not as many orders in runs as buyers') end
sell(n)

local due = 0
if tight or #expiryWrite > 0 then -- the latter so that a wrong type fails before the first write
  local soonest = call('ZRANGE', KEYS[7], '-inf', ms, 'BYSCORE', 'LIMIT', '0', '1')
  if tight then due = #soonest end
end

local orders = meta[5] + accepted
if accepted > 0 then
  local stockWrite = {}
  for k = 1, products do
    local p = shelf[k]
    if p.changed then
      stockWrite[#stockWrite + 1] = names[k]
      stockWrite[#stockWrite + 1] = productText(p)
    end
  end
  for k = 1, #people do
    local b = people[k]
    if b.changed then
      local at = b.at or #buyersWrite + 2
      buyersWrite[at - 1], buyersWrite[at] = b.key, buyerText(b)
    end
  end
  call('XADD', KEYS[6], place .. '-0', 'accepted', ms, text(meta[5]), concat(rests), unpack(entry))
  if soldAny and not taken then call('HSET', KEYS[1], 'sequence', place, 'time', ms, 'orders', text(orders), token, place)
  else call('HSET', KEYS[1], 'sequence', place, 'time', ms, 'orders', text(orders)) end
  call('HSET', KEYS[2], unpack(stockWrite))
  call('HSET', KEYS[4], unpack(buyersWrite))
  if #ordersWrite > 0 then call('HSET', KEYS[5], unpack(ordersWrite)) end
  if #expiryWrite > 0 then call('ZADD', KEYS[7], unpack(expiryWrite)) end
  if #keysWrite > 0 then
    if stored ~= generation then
      if generation % 2 == 0 or stored ~= generation - 1 then call('UNLINK', KEYS[8]) end
      if generation % 2 == 1 or stored ~= generation - 1 then call('UNLINK', KEYS[9]) end
      call('HSET', KEYS[1], 'idem', text(generation))
    end
    if generation % 2 == 0 then call('HSET', KEYS[8], unpack(keysWrite))
    else call('HSET', KEYS[9], unpack(keysWrite)) end
  end
else
  sequence = meta[3]
end

local reply = {'OK', nowMs, sequence, orders, due, concat(statuses)}
for k = 1, products do reply[6 + k] = shelf[k].current end
for k = 1, #details do reply[#reply + 1] = details[k] end
return reply

#!lua
-- reserve.lua: decide a batch of orders of one partition in one atomic step: sold at once, or held.
--
-- KEYS 1 meta    hash   state, replid, sequence, time, orders, idem, keyMs
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record, or sequence; token -> sequence
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
-- ARGV 6 runs        how many runs of orders follow, each of one product and quantity
-- ARGV 7 wishes      how many wishes follow them
-- ARGV 8 ids         of all orders, run after run: the 10 bytes that they begin with, all alike (the token), then the other 6 of
--                    each, no two alike. A repeated attempt has the token of the first, and the same id for the same order
-- ARGV ..            for each run: product, quantity, how many orders
-- ARGV ..            for each wish: order (1-based place), holdMs (0 = sell at once), idempotency field, request, key
--                    (the three empty where there is no key)
-- ARGV ..            product|user of each order, run after run
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, orders, due, statuses, left of each product, in the order they came first (-1 = unknown) .., details ..}
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
-- Orders that are sold at once share one field of the hash: token -> sequence. Where the token is there already, what its
-- entry has was decided before; what is accepted beside that has a field of its own, order id -> sequence, for either an
-- attempt comes again of which some orders were refused, or another batch has the same token by chance.
--
-- Invariant: initial = current + held + sold before and after, for every product. Nothing is written unless an
-- order is accepted; the XADD is the first write, so a refused append leaves no trace. An order id has one effect, as long as
-- neither the entry that has it nor that of its token was trimmed.
--@include guard.lua
--@include books.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]))
if code ~= 'OK' then return {code, nowMs} end

local lockMs, maxQuantity = tonumber(ARGV[4]), tonumber(ARGV[5])
local runs, wished = tonumber(ARGV[6]), tonumber(ARGV[7])
local call = redis.call

local names, shelf = {}, {} -- the products, each once; name -> product
for a = 9, 6 + 3 * runs, 3 do
  local name = ARGV[a]
  if not shelf[name] then
    names[#names + 1] = name
    shelf[name] = true
  end
end

local ids = ARGV[8]
local token = tokenOf(ids)
local function restOf(i) return sub(ids, 6 * i + 5, 6 * i + 10) end

local wishes, fields = {}, {}
local places, asked = {}, {token} -- of the wishes; what is asked for in the hash of orders
local wishAt = 8 + 3 * runs
for a = wishAt, wishAt + 5 * wished - 5, 5 do
  local i = tonumber(ARGV[a + 1])
  local wish = {holdMs = tonumber(ARGV[a + 2]), field = ARGV[a + 3], request = ARGV[a + 4], key = ARGV[a + 5], id = token .. restOf(i)}
  wishes[i] = wish
  places[#places + 1], asked[#asked + 1] = i, wish.id
  if wish.field ~= '' then fields[#fields + 1] = wish.field end
end

local buyerAt = wishAt + 5 * wished
local n = #ARGV - buyerAt

local stockRead = call('HMGET', KEYS[2], unpack(names))
local termsRead = call('HMGET', KEYS[3], unpack(names))
local buyersRead = call('HMGET', KEYS[4], unpack(ARGV, buyerAt + 1, buyerAt + n))
local ordersRead = call('HMGET', KEYS[5], unpack(asked))
local taken = ordersRead[1] -- the entry that has the token
local function entryAt(id) return call('XRANGE', KEYS[6], id, id) end

local decided = {} -- place -> record of an order that was decided before
if taken then
  local entry, all = entryOf(taken, entryAt), {}
  for i = 1, n do all[i] = token .. restOf(i) end
  ordersRead = call('HMGET', KEYS[5], unpack(all))
  for i = 1, n do
    local id, kept = all[i], ordersRead[i]
    decided[i] = kept and recordOf(id, kept, entryAt) or entry.sold[id] or entry.granted[id] or not entry.all and taken or nil
  end
else
  for k = 1, #places do
    local kept = ordersRead[k + 1]
    if kept then decided[places[k]] = recordOf(asked[k + 1], kept, entryAt) end
  end
end

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

for i = 1, #names do
  local p = readProduct(stockRead[i], termsRead[i])
  if not p then p = {unknown = stockRead[i] and 'X' or 'U', current = -1, terms = {}}
  elseif not p.terms.active then p.refusal = 'I'
  elseif nowMs < p.terms.startsMs then p.refusal, p.detail = 'N', p.terms.startsMs
  elseif p.terms.endsMs > 0 and nowMs >= p.terms.endsMs then p.refusal = 'E' end
  shelf[names[i]] = p
end

local sequence, accepted = meta[3] + 1, 0
local ms, place, lockUntilMs = text(nowMs), text(sequence), nowMs + lockMs
local lockUntil = text(lockUntilMs)
local statuses, details, tight = {}, {}, false
local buyers, people = {}, {} -- key -> what the buyer has, or where in buyersWrite that is; those that have been read
local seen, pieces = {}, {}   -- rest of an order's id -> its number in this batch; what the entry has of each
local soldAny = false         -- without a wish
local buyersWrite, ordersWrite, expiryWrite, keysWrite = {}, {}, {}, {}

-- buyerOf returns what the buyer of an order has; false where it can't be read.
local function buyerOf(i, key)
  local b, at = buyers[key], nil
  if b ~= nil and type(b) ~= 'number' then return b end
  if b then at, b = b, buyersWrite[b] else b = buyersRead[i] end
  b = readBuyer(b) or false
  if b then
    b.key, b.at = key, at
    people[#people + 1] = b
  end
  buyers[key] = b
  return b
end

-- log adds an order to the entry: head is the length of what the entry has of it, and how that begins.
local function log(rest, head, tail)
  local at = 4 * accepted
  pieces[at + 1], pieces[at + 2], pieces[at + 3], pieces[at + 4] = token, rest, head, tail
  accepted = accepted + 1
  seen[rest] = accepted
end

-- keep has Redis know an order by its own id.
local function keep(id, what)
  local last = #ordersWrite
  ordersWrite[last + 1], ordersWrite[last + 2] = id, what
end

-- grant is what an order asks for beyond being sold at once: it is held, or known by its key.
local function grant(rest, quantity, p, b, wish)
  local id, tail, letter, expires = wish.id, '', 'c', '0'
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
  local record = letter .. ',1,' .. text(quantity) .. ',' .. ms .. ',' .. ms .. ',' .. expires .. ',' .. place .. ','
    .. text(meta[5] + accepted + 1) .. ',' .. b.key .. tail
  log(rest, lengthText(#record), record)
  keep(id, record)
end

-- amountOf reads a quantity, once a call: bad is one that can't be sold. before and bought are how the texts begin that the
-- entry and the buyer get; heads are those of the entry with the length before them, by the length of product|user.
local amounts = {}
local function amountOf(wanted)
  local amount = amounts[wanted]
  if not amount then
    local quantity = tonumber(wanted)
    local bad = not quantity or quantity < 1 or quantity > maxQuantity or quantity % 1 ~= 0
    if bad then quantity = 0 end
    local before = text(quantity) .. ','
    amount = {quantity = quantity, bad = bad, before = before, bought = before .. '0,' .. lockUntil .. ',' .. token, heads = {}}
    amounts[wanted] = amount
  end
  return amount
end

-- Most orders are sold at once to buyers whom Redis has not met: they take the short way through this loop.
local nobody = {bought = 0, held = 0, lockUntilMs = 0}
local i = 0
for a = 9, wishAt, 3 do
  local p, amount = shelf[ARGV[a]], amountOf(ARGV[a + 1])
  local t, unknown, refusal, refusalDetail = p.terms, p.unknown, p.refusal, p.detail
  if amount.bad then refusal, refusalDetail = 'Q', nil end
  local quantity, before, bought, heads = amount.quantity, amount.before, amount.bought, amount.heads
  for _ = 1, tonumber(ARGV[a + 2]) do
    i = i + 1
    local rest, key, wish = sub(ids, 6 * i + 5, 6 * i + 10), ARGV[buyerAt + i], wishes[i]
    local earlier = wish and known[wish.field]
    local status, detail
    if decided[i] then
      status, detail = 'R', decided[i]
    elseif seen[rest] then
      local at = 4 * seen[rest]
      status, detail = 'R', whole(sub(pieces[at - 1], 3) .. pieces[at], ms, place, text(meta[5] + seen[rest]))
    elseif earlier then
      status, detail = whatKey(earlier, wish)
    else
      local b = nobody
      if wish or buyersRead[i] or buyers[key] ~= nil then b = buyerOf(i, key) end
      if unknown then status = unknown
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
        if wish then
          grant(rest, quantity, p, b, wish)
        else
          local head = heads[#key]
          if not head then
            head = lengthText(#before + #key) .. before
            heads[#key] = head
          end
          log(rest, head, key)
          p.sold, soldAny = p.sold + quantity, true
          if taken then keep(token .. rest, place) end
        end
        if b == nobody then
          local last = #buyersWrite
          buyersWrite[last + 1], buyersWrite[last + 2] = key, bought .. rest
          buyers[key] = last + 2
        else
          b.last, b.lockUntilMs, b.changed = token .. rest, lockUntilMs, true
          if not wish then b.bought = b.bought + quantity end
        end
      end
    end
    statuses[i] = status
    if detail then details[#details + 1] = detail end
  end
end

local due = 0
if tight or #expiryWrite > 0 then -- the latter so that a wrong type fails before the first write
  local soonest = call('ZRANGE', KEYS[7], '-inf', ms, 'BYSCORE', 'LIMIT', '0', '1')
  if tight then due = #soonest end
end

local orders = meta[5] + accepted
if accepted > 0 then
  local stockWrite = {}
  for k = 1, #names do
    local p = shelf[names[k]]
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
  if soldAny and not taken then keep(token, place) end
  call('XADD', KEYS[6], place .. '-0', 'reserved', ms, text(meta[5]), table.concat(pieces))
  call('HSET', KEYS[1], 'sequence', place, 'time', ms, 'orders', text(orders))
  call('HSET', KEYS[2], unpack(stockWrite))
  call('HSET', KEYS[4], unpack(buyersWrite))
  call('HSET', KEYS[5], unpack(ordersWrite))
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

local reply = {'OK', nowMs, sequence, orders, due, table.concat(statuses)}
local last = 6
for k = 1, #names do reply[last + k] = shelf[names[k]].current end
last = last + #names
for k = 1, #details do reply[last + k] = details[k] end
return reply

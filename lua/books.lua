-- books.lua: how counters, buyers and orders are read and written.
-- Included by a line `--@include books.lua`; it is not a script of its own.
--
-- A reader returns nil for what it can't read. Numbers come as numbers.
--   readProduct(counters, terms)  {current, held, sold, tail, terms = {limit, active, startsMs, endsMs, holdMs}}
--   readBuyer(value)              {bought, held, lockUntilMs, last}; no value is a buyer who has nothing
--   readOrder(record)             {letter, version, quantity, createdMs, updatedMs, expiresMs, buyer, product, user, tail}
--   productText, buyerText and orderText are their inverses; orderText stamps the place in the log.
--   readBooks(stockKey, termsKey, buyersKey, names, keys)  each once: name -> product, key -> buyer; false for what can't
--                                                          be read
--   changed(books, write)         field, value of what has been changed, as HSET takes them
--
-- Of orders that were sold at once Redis keeps no more than the sequence of their entry: once for all of a batch, whose ids
-- begin alike, under these 10 bytes (the token), or under an order's own id where the token is that of an earlier entry. The
-- entry, made by reserve.lua, has all orders of a batch in one value: of each its id (16 bytes), a length (2 bytes) and so
-- many bytes, which are a whole record or "quantity,product|user".
--   tokenOf(id)                   how it begins
--   lengthText(n)                 the two bytes
--   eachLogged(value, visit)      visit(id, what the entry has of it, 1-based place) for each, up to what can't be read;
--                                 returns whether that was all
--   whole(logged, ms, sequence, number)  the record that this stands for, of an order of an entry
--   entryOf(kept, entryAt)        {sold = id -> record of those sold at once, granted = id -> record of the others, all =
--                                 whether no other order can be in it, gone = whether there is none}: the entry of a sequence;
--                                 entryAt(stream id) is what XRANGE has at that place
--   recordOf(id, kept, entryAt)   the record of an order of which Redis keeps something under its id, which is told as it is
--                                 where the record can't be found
--   soldOf(id, kept, entryAt)     the record of an order sold at once of which Redis may keep something under its token,
--                                 which is told as it is where nobody can read that; nil where it is none of that entry's
local match, format, sub, byte = string.match, string.format, string.sub, string.byte

local function tokenOf(id) return sub(id, 1, 10) end

-- text formats a count, each only once a call: most numbers of a batch are the same few.
local texts = {}
local function text(n)
  local t = texts[n]
  if not t then
    t = format('%d', n) -- a third of what '%.0f' costs, and as exact
    texts[n] = t
  end
  return t
end

-- readTerms reads each text only once a call: most products of a batch have the same terms.
local termsKnown = {}
local function readTerms(value)
  local t = termsKnown[value]
  if t == nil then
    local limit, active, startsMs, endsMs, holdMs = match(value, '^(%d+),([01]),(%d+),(%d+),(%d+)$')
    t = limit and {limit = tonumber(limit), active = active == '1', startsMs = tonumber(startsMs), endsMs = tonumber(endsMs),
      holdMs = tonumber(holdMs)} or false
    termsKnown[value] = t
  end
  return t
end

local function readProduct(counters, terms)
  local current, held, sold, tail = match(counters or '', '^(%d+),(%d+),(%d+)(,%d+,%d+)$')
  local t = current and readTerms(terms or '')
  if not t then return nil end
  return {current = tonumber(current), held = tonumber(held), sold = tonumber(sold), tail = tail, terms = t}
end

local function productText(p)
  return format('%d,%d,%d%s', p.current, p.held, p.sold, p.tail)
end

local function readBuyer(value)
  if not value then return {bought = 0, held = 0, lockUntilMs = 0, last = ''} end
  local bought, held, lockUntilMs, last = match(value, '^(%d+),(%d+),(%d+),(.*)$')
  if not bought then return nil end
  return {bought = tonumber(bought), held = tonumber(held), lockUntilMs = tonumber(lockUntilMs), last = last}
end

local function buyerText(b)
  return text(b.bought) .. ',' .. text(b.held) .. ',' .. text(b.lockUntilMs) .. ',' .. b.last
end

local function readOrder(record)
  local letter, version, quantity, createdMs, updatedMs, expiresMs, product, user, tail = match(record,
    '^([pcxef]),(%d+),(%d+),(%d+),(%d+),(%d+),%d+,%d+,([^|]+)|([^|]+)(.*)$')
  if not letter then return nil end
  return {
    letter = letter, version = tonumber(version), quantity = tonumber(quantity), createdMs = tonumber(createdMs),
    updatedMs = tonumber(updatedMs), expiresMs = tonumber(expiresMs), buyer = product .. '|' .. user, product = product, user = user, tail = tail,
  }
end

local function orderText(o, nowMs, sequence, number)
  return format('%s,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,', o.letter, o.version, o.quantity, o.createdMs, nowMs,
    o.expiresMs, sequence, number) .. o.buyer .. o.tail -- joined, for format ends a text at its first zero byte
end

local lengths = {}
local function lengthText(n)
  local t = lengths[n]
  if not t then
    t = string.char(math.floor(n / 256), n % 256)
    lengths[n] = t
  end
  return t
end

local function eachLogged(value, visit)
  local at, place = 1, 0
  while at + 17 <= #value do
    local high, low = byte(value, at + 16, at + 17)
    local last = at + 17 + high * 256 + low
    if last > #value then return false end
    place = place + 1
    visit(sub(value, at, at + 15), sub(value, at + 18, last), place)
    at = last + 1
  end
  return at == #value + 1
end

local function whole(logged, ms, sequence, number)
  local quantity, buyer = match(logged, '^(%d+),(.*)$')
  if not quantity then return logged end
  return 'c,1,' .. quantity .. ',' .. ms .. ',' .. ms .. ',0,' .. sequence .. ',' .. number .. ',' .. buyer
end

-- entriesKnown has what entries say, for whoever asks for one order of an entry often asks for more.
local entriesKnown = {}
local function entryOf(kept, entryAt)
  local e = entriesKnown[kept]
  if e then return e end
  e = {sold = {}, granted = {}, all = false, gone = false}
  entriesKnown[kept] = e
  if not match(kept, '^%d+$') or #kept > 15 then return e end
  local found = entryAt(kept .. '-0')[1]
  local fields = found and found[2]
  e.gone = not found
  if fields and fields[1] == 'reserved' and tonumber(fields[3]) then
    e.all = eachLogged(fields[4], function(id, logged, place)
      local record = whole(logged, fields[2], kept, text(tonumber(fields[3]) + place))
      if record == logged then e.granted[id] = record else e.sold[id] = record end
    end)
  end
  return e
end

local function recordOf(id, kept, entryAt)
  if byte(kept) and byte(kept) > 57 then return kept end -- a letter: no digits, as most
  local e = entryOf(kept, entryAt)
  return e.sold[id] or e.granted[id] or kept
end

local function soldOf(id, kept, entryAt)
  local e = entryOf(kept, entryAt)
  if e.sold[id] or e.gone or e.all then return e.sold[id] end
  return kept
end

local function readBooks(stockKey, termsKey, buyersKey, names, keys)
  local shelf, people = {}, {}
  if #names == 0 then return shelf, people end -- HMGET of nothing is an error
  local stock = redis.call('HMGET', stockKey, unpack(names))
  local terms = redis.call('HMGET', termsKey, unpack(names))
  local buyers = redis.call('HMGET', buyersKey, unpack(keys))
  for i = 1, #names do
    if shelf[names[i]] == nil then shelf[names[i]] = readProduct(stock[i], terms[i]) or false end
    if people[keys[i]] == nil then people[keys[i]] = readBuyer(buyers[i]) or false end
  end
  return shelf, people
end

local function changed(books, write)
  local written = {}
  for field, value in pairs(books) do
    if value and value.changed then
      written[#written + 1] = field
      written[#written + 1] = write(value)
    end
  end
  return written
end

-- books.lua: how counters, buyers and orders are read and written.
-- Included by a line `--@include books.lua`; it is not a script of its own.
--
-- A reader returns nil for what it can't read. Numbers come as numbers.
--   readProduct(counters, terms)  {current, held, sold, initial, change, limit, active, startsMs, endsMs, holdMs}
--   readBuyer(value)              {bought, held, lockUntilMs, last}; no value is a buyer who has nothing
--   readOrder(record)             {letter, version, quantity, createdMs, updatedMs, expiresMs, buyer, product, user, tail}
--   productText, buyerText and orderText are their inverses; orderText stamps the place in the log.
--   readBooks(names, stock, terms, keys, buyers)  what HMGET gave for each, once: name -> product, key -> buyer; false
--                                                 for what can't be read
--   changed(books, write)         field, value of what has been changed, as HSET takes them
local match, format = string.match, string.format

-- text formats a count, each only once a call: most numbers of a batch are the same few.
local texts = {}
local function text(n)
  local t = texts[n]
  if not t then
    t = format('%.0f', n)
    texts[n] = t
  end
  return t
end

local function readProduct(counters, terms)
  local current, held, sold, initial, change = match(counters or '', '^(%d+),(%d+),(%d+),(%d+),(%d+)$')
  local limit, active, startsMs, endsMs, holdMs = match(terms or '', '^(%d+),([01]),(%d+),(%d+),(%d+)$')
  if not current or not limit then return nil end
  return {
    current = tonumber(current), held = tonumber(held), sold = tonumber(sold), initial = initial, change = change,
    limit = tonumber(limit), active = active == '1', startsMs = tonumber(startsMs), endsMs = tonumber(endsMs),
    holdMs = tonumber(holdMs),
  }
end

local function productText(p)
  return format('%.0f,%.0f,%.0f,%s,%s', p.current, p.held, p.sold, p.initial, p.change)
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

local function readBooks(names, stock, terms, keys, buyers)
  local shelf, people = {}, {}
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

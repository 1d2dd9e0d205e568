-- books.lua: how orders are read and written, and the counters that their changes touch. It needs counters.lua before it.
-- Included by a line `--@include books.lua`; it is not a script of its own.
--
-- A reader returns nil for what it can't read. Numbers come as numbers.
--   readOrder(record)             {letter, version, quantity, createdMs, updatedMs, expiresMs, buyer, product, user, tail}
--   orderText is its inverse; it stamps the place in the log.
--   readBooks(stockKey, termsKey, buyersKey, names, keys)  each once: name -> product, key -> buyer; false for what can't
--                                                          be read
--   changed(books, write)         field, value of what has been changed, as HSET takes them
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

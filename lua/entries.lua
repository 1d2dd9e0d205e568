-- entries.lua: what log entries of reserve.lua say of their orders.
-- Included by a line `--@include entries.lua`; it is not a script of its own.
--
-- Of orders that were sold at once Redis keeps no more than the sequence of their entry: once for all of a batch, whose ids
-- begin alike, in meta under these 10 bytes (the token), or in orders under its own id where the token is that of an earlier
-- entry. The entry says the rest: kind 'accepted', ms, running count of orders before, ids (the token, then the other 6 bytes of each), then,
-- in the same order, pairs: a quantity with the product|user of everybody to whom so many were sold, joined by spaces, or 'record'
-- with the whole record of one order. The version before wrote entries of the kind 'reserved' (see readReserved).
--   tokenOf(id)                   how it begins
--   readAccepted(fields, sequence), readReserved(fields, sequence)
--                                 {sold = id -> record of those sold at once, granted = id -> record of the others, all =
--                                 whether no other order can be in it}: what the fields of an entry say
--   entryOf(kept, entryAt)        the same of the entry of a sequence, and gone = whether there is none; entryAt(stream id) is
--                                 what XRANGE has at that place
--   recordOf(id, kept, entryAt)   the record of an order of which Redis keeps something under its id, which is told as it is
--                                 where the record can't be found
--   soldOf(id, kept, entryAt)     the record of an order sold at once of which Redis may keep something under its token,
--                                 which is told as it is where nobody can read that; nil where it is none of that entry's
--   sells(fields, id)             whether an entry has sold that order at once; it makes no records
local match, sub, byte, find, gmatch = string.match, string.sub, string.byte, string.find, string.gmatch

local function tokenOf(id) return sub(id, 1, 10) end

local function saleRecord(quantity, buyer, ms, sequence, number)
  return 'c,1,' .. quantity .. ',' .. ms .. ',' .. ms .. ',0,' .. sequence .. ',' .. string.format('%d', number) .. ',' .. buyer
end

local function readAccepted(fields, sequence)
  local ms, number, ids = fields[2], tonumber(fields[3]), fields[4]
  local sold, granted, at = {}, {}, 11
  local token = tokenOf(ids)
  for f = 5, #fields, 2 do
    local quantity, said = fields[f], fields[f + 1]
    if quantity == 'record' then
      number = number + 1
      granted[token .. sub(ids, at, at + 5)] = said
      at = at + 6
    else
      for buyer in gmatch(said .. ' ', '([^ ]*) ') do
        number = number + 1
        sold[token .. sub(ids, at, at + 5)] = saleRecord(quantity, buyer, ms, sequence, number)
        at = at + 6
      end
    end
  end
  if at ~= #ids + 1 then return {sold = {}, granted = {}, all = false} end -- nobody knows which order is whose
  return {sold = sold, granted = granted, all = true}
end

-- readReserved reads an entry of the version before: ms, running count of orders before, and then one value: of each order its
-- id (16 bytes), a length (2 bytes) and so many bytes, which are a whole record or "quantity,product|user".
local function readReserved(fields, sequence)
  local ms, number, value, at = fields[2], tonumber(fields[3]), fields[4], 1
  local e = {sold = {}, granted = {}, all = false}
  while at + 17 <= #value do
    local high, low = byte(value, at + 16, at + 17)
    local last = at + 17 + high * 256 + low
    if last > #value then return e end
    number = number + 1
    local id, said = sub(value, at, at + 15), sub(value, at + 18, last)
    local quantity, buyer = match(said, '^(%d+),(.*)$')
    if quantity then e.sold[id] = saleRecord(quantity, buyer, ms, sequence, number) else e.granted[id] = said end
    at = last + 1
  end
  e.all = at == #value + 1
  return e
end

-- entriesKnown has what entries say, for whoever asks for one order of an entry often asks for more.
local entriesKnown = {}
local function entryOf(kept, entryAt)
  local e = entriesKnown[kept]
  if e then return e end
  e = {sold = {}, granted = {}, all = false}
  if match(kept, '^%d+$') and #kept <= 15 then
    local found = entryAt(kept .. '-0')[1]
    local fields = found and found[2]
    if fields and tonumber(fields[3]) then
      if fields[1] == 'accepted' then e = readAccepted(fields, kept)
      elseif fields[1] == 'reserved' then e = readReserved(fields, kept) end
    end
    e.gone = not found
  end
  entriesKnown[kept] = e
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

local function sells(fields, id)
  if not tonumber(fields[3]) then return false end
  local ids, rest = fields[4], sub(id, 11)
  if fields[1] == 'reserved' then
    local _, at = find(ids, id, 1, true) -- no text in an entry has the first byte of an id
    return at and match(ids, '^..%d', at + 1)
  end
  if fields[1] ~= 'accepted' or tokenOf(ids) ~= tokenOf(id) then return false end
  local at = 11
  repeat
    at = find(ids, rest, at, true)
    if not at then return false end
    local ahead = (at - 11) / 6
    at = at + 1
  until ahead % 1 == 0
  local ahead, all, sold = (at - 12) / 6, 0, false -- how many orders the entry has before, and how many have been counted
  for f = 5, #fields, 2 do
    local orders = 1
    if fields[f] ~= 'record' then orders = 1 + select(2, string.gsub(fields[f + 1], ' ', ' ')) end
    if ahead >= all and ahead < all + orders then sold = fields[f] ~= 'record' end
    all = all + orders
  end
  return sold and #ids == 10 + 6 * all -- else nobody knows which order is whose
end

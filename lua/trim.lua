#!lua flags=allow-oom
-- trim.lua: forget what is in the ledger: log entries past the grace and the records of their orders.
--
-- KEYS 1 meta    hash   and token -> sequence
-- KEYS 2 orders  hash   order id -> record, or sequence; tokens of the version before
-- KEYS 3 log     stream
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark   sequence committed in the ledger; nothing later is touched
-- ARGV 3 graceMs     age from which an entry may go
-- ARGV 4 maxEntries
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, entries removed, fields removed: records, sequences and tokens}
--
-- Invariant: a record goes only with the entry of its own last change, and never while it is a hold ('p'); a token goes with
-- the entry that it names.
-- An entry that nobody can read goes too: the ledger has it among its dead letters. Runs without memory (allow-oom),
-- for it frees some.
--@include guard.lua
--@include entries.lua

local watermark, graceMs = tonumber(ARGV[2]), tonumber(ARGV[3])
local code, nowMs = guard(KEYS[1], ARGV[1], watermark, math.huge)
if code ~= 'OK' then return {code, nowMs} end

local entries = redis.call('XRANGE', KEYS[3], '-', ARGV[2] .. '-0', 'COUNT', ARGV[4])
local removed, last = 0, nil
local gone, tokens = {}, {} -- fields of orders, and of meta

local maxUnpack = 1000

-- forget removes what Redis keeps of orders of an entry, where it is of that entry's making and no hold: one of the records that
-- the entry says, or the mark that Redis keeps instead, if any. Both orders and records are sets.
local function forget(orders, records, mark)
  local ids = {}
  for id in pairs(orders) do ids[#ids + 1] = id end
  for from = 1, #ids, maxUnpack do
    local last = math.min(from + maxUnpack - 1, #ids)
    local kept = redis.call('HMGET', KEYS[2], unpack(ids, from, last))
    for k = 1, last - from + 1 do
      local is = kept[k]
      if is and (is == mark or records[is] and byte(is) ~= 112) then gone[#gone + 1] = ids[from + k - 1] end
    end
  end
end

-- granted tells whether an entry of reserve.lua may have whole records, which most have not: none of the version before begins
-- otherwise than those two.
local function granted(fields)
  if fields[1] == 'reserved' then return find(fields[4], 'c,1,', 1, true) or find(fields[4], 'p,1,', 1, true) end
  for f = 5, #fields, 2 do
    if fields[f] == 'record' then return true end
  end
  return false
end

-- forgetSales does that for an entry of reserve.lua. Where the token names it, an order that was sold at once has no field but
-- with a later entry. Where nobody knows which order of it is whose, all ids and records that it has count.
local function forgetSales(fields, mark)
  local token, byToken = tokenOf(fields[4]), nil
  if fields[1] == 'reserved' then
    byToken = redis.call('HGET', KEYS[2], token) == mark
    if byToken then gone[#gone + 1] = token end
  else
    byToken = #token == 10 and redis.call('HGET', KEYS[1], token) == mark
    if byToken then tokens[#tokens + 1] = token end
  end
  if byToken and not granted(fields) then return end
  local orders, records = {}, {}
  local e = {sold = {}, granted = {}}
  if tonumber(fields[3]) then e = fields[1] == 'reserved' and readReserved(fields, mark) or readAccepted(fields, mark) end
  for id, record in pairs(e.granted) do orders[id], records[record] = true, true end
  if not byToken then
    for id, record in pairs(e.sold) do orders[id], records[record] = true, true end
  end
  if fields[1] == 'accepted' and not e.all then
    for at = 11, #fields[4] - 5, 6 do orders[token .. sub(fields[4], at, at + 5)] = true end
    for f = 5, #fields, 2 do
      if fields[f] == 'record' then records[fields[f + 1]] = true end
    end
  end
  forget(orders, records, mark)
end

for i = 1, #entries do
  local fields = entries[i][2]
  if nowMs - (tonumber(fields[2]) or 0) < graceMs then break end
  if fields[1] == 'orders' then
    local orders, records = {}, {}
    for f = 3, #fields, 2 do orders[fields[f]], records[fields[f + 1]] = true, true end
    forget(orders, records)
  elseif (fields[1] == 'accepted' or fields[1] == 'reserved') and fields[4] then
    forgetSales(fields, match(entries[i][1], '^%d+'))
  end
  removed, last = i, entries[i][1]
end

if removed == 0 then return {'OK', nowMs, 0, 0} end
for i = 1, #tokens, maxUnpack do
  redis.call('HDEL', KEYS[1], unpack(tokens, i, math.min(i + maxUnpack - 1, #tokens)))
end
for i = 1, #gone, maxUnpack do
  redis.call('HDEL', KEYS[2], unpack(gone, i, math.min(i + maxUnpack - 1, #gone)))
end
local after = tonumber(match(last, '^(%d+)')) + 1
redis.call('XTRIM', KEYS[3], 'MINID', string.format('%d-0', after))
return {'OK', nowMs, removed, #gone + #tokens}

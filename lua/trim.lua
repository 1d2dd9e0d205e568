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

-- forget removes what Redis keeps of orders of an entry, where it is of that entry's making and no hold: the record that
-- the entry has of it, or the mark that Redis keeps instead, if any.
local function forget(records, mark)
  local ids = {}
  for id in pairs(records) do ids[#ids + 1] = id end
  if #ids == 0 then return end
  local kept = redis.call('HMGET', KEYS[2], unpack(ids))
  for k = 1, #ids do
    if kept[k] and (kept[k] == mark or kept[k] == records[ids[k]] and byte(kept[k]) ~= 112) then gone[#gone + 1] = ids[k] end
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
-- with a later entry.
local function forgetSales(fields, mark)
  local token, byToken = tokenOf(fields[4]), nil
  if fields[1] == 'reserved' then
    byToken = redis.call('HGET', KEYS[2], token) == mark
    if byToken then gone[#gone + 1] = token end
  else
    byToken = redis.call('HGET', KEYS[1], token) == mark
    if byToken then tokens[#tokens + 1] = token end
  end
  if byToken and not granted(fields) then return end
  local e = fields[1] == 'reserved' and readReserved(fields, mark) or readAccepted(fields, mark)
  forget(e.granted, mark)
  if not byToken then forget(e.sold, mark) end
end

for i = 1, #entries do
  local fields = entries[i][2]
  if nowMs - (tonumber(fields[2]) or 0) < graceMs then break end
  if fields[1] == 'orders' then
    local records = {}
    for f = 3, #fields, 2 do records[fields[f]] = fields[f + 1] end
    forget(records)
  elseif (fields[1] == 'accepted' or fields[1] == 'reserved') and tonumber(fields[3]) then
    forgetSales(fields, match(entries[i][1], '^%d+'))
  end
  removed, last = i, entries[i][1]
end

if removed == 0 then return {'OK', nowMs, 0, 0} end
local maxUnpack = 1000
for i = 1, #tokens, maxUnpack do
  redis.call('HDEL', KEYS[1], unpack(tokens, i, math.min(i + maxUnpack - 1, #tokens)))
end
for i = 1, #gone, maxUnpack do
  redis.call('HDEL', KEYS[2], unpack(gone, i, math.min(i + maxUnpack - 1, #gone)))
end
local after = tonumber(match(last, '^(%d+)')) + 1
redis.call('XTRIM', KEYS[3], 'MINID', string.format('%d-0', after))
return {'OK', nowMs, removed, #gone + #tokens}

#!lua flags=allow-oom
-- trim.lua: forget what is in the ledger: log entries past the grace and the records of their orders.
--
-- KEYS 1 meta    hash
-- KEYS 2 orders  hash   order id -> record, or sequence; token -> sequence
-- KEYS 3 log     stream
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark   sequence committed in the ledger; nothing later is touched
-- ARGV 3 graceMs     age from which an entry may go
-- ARGV 4 maxEntries
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, entries removed, fields of the hash removed}
--
-- Invariant: a record goes only with the entry of its own last change, and never while it is a hold ('p'); a token goes with
-- the entry that it names.
-- An entry that nobody can read goes too: the ledger has it among its dead letters. Runs without memory (allow-oom),
-- for it frees some.
--@include guard.lua
--@include books.lua

local watermark, graceMs = tonumber(ARGV[2]), tonumber(ARGV[3])
local code, nowMs = guard(KEYS[1], ARGV[1], watermark, math.huge)
if code ~= 'OK' then return {code, nowMs} end

local entries = redis.call('XRANGE', KEYS[3], '-', ARGV[2] .. '-0', 'COUNT', ARGV[4])
local removed, gone, last = 0, {}, nil

-- forget removes what Redis keeps of orders of an entry, where it is of that entry's making and no hold: the record that
-- the entry has of it, or the mark that Redis keeps instead, if any.
local function forget(ids, records, mark)
  if #ids == 0 then return end
  local kept = redis.call('HMGET', KEYS[2], unpack(ids))
  for k = 1, #ids do
    if kept[k] and (kept[k] == mark or kept[k] == records[k] and byte(kept[k]) ~= 112) then gone[#gone + 1] = ids[k] end
  end
end

-- forgetReserved does that for an entry of reserve.lua. Where the token names it, an order that was sold at once has no field
-- but with a later entry, and most batches have no others: no record begins otherwise than those two.
local function forgetReserved(fields, mark)
  local value = fields[4]
  local token = tokenOf(value)
  local byToken = redis.call('HGET', KEYS[2], token) == mark
  if byToken then
    gone[#gone + 1] = token
    if not string.find(value, 'c,1,', 1, true) and not string.find(value, 'p,1,', 1, true) then return end
  end
  local ids, records = {}, {}
  eachLogged(value, function(id, logged, place)
    local record = whole(logged, fields[2], mark, text(tonumber(fields[3]) + place))
    if record == logged or not byToken then ids[#ids + 1], records[#records + 1] = id, record end
  end)
  forget(ids, records, mark)
end

for i = 1, #entries do
  local fields = entries[i][2]
  if nowMs - (tonumber(fields[2]) or 0) < graceMs then break end
  if fields[1] == 'orders' then
    local ids, records = {}, {}
    for f = 3, #fields, 2 do ids[#ids + 1], records[#records + 1] = fields[f], fields[f + 1] end
    forget(ids, records)
  elseif fields[1] == 'reserved' and tonumber(fields[3]) then
    forgetReserved(fields, match(entries[i][1], '^%d+'))
  end
  removed, last = i, entries[i][1]
end

if removed == 0 then return {'OK', nowMs, 0, 0} end
local maxUnpack = 1000
for i = 1, #gone, maxUnpack do
  redis.call('HDEL', KEYS[2], unpack(gone, i, math.min(i + maxUnpack - 1, #gone)))
end
local after = tonumber(match(last, '^(%d+)')) + 1
redis.call('XTRIM', KEYS[3], 'MINID', text(after) .. '-0')
return {'OK', nowMs, removed, #gone}

#!lua flags=allow-oom
-- trim.lua: forget what is in the ledger: log entries past the grace and the records of their orders.
--
-- KEYS 1 meta    hash
-- KEYS 2 orders  hash   order id -> record
-- KEYS 3 log     stream
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark   sequence committed in the ledger; nothing later is touched
-- ARGV 3 graceMs     age from which an entry may go
-- ARGV 4 maxEntries
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, entries removed, records removed}
--
-- Invariant: a record goes only with the entry of its own last change, and never while it is a hold ('p').
-- An entry that nobody can read goes too: the ledger has it among its dead letters. Runs without memory (allow-oom),
-- for it frees some.
--@include guard.lua
--@include books.lua

local watermark, graceMs = tonumber(ARGV[2]), tonumber(ARGV[3])
local code, nowMs = guard(KEYS[1], ARGV[1], watermark, math.huge)
if code ~= 'OK' then return {code, nowMs} end

local entries = redis.call('XRANGE', KEYS[3], '-', ARGV[2] .. '-0', 'COUNT', ARGV[4])
local removed, gone, last = 0, {}, nil

-- logged gives the ids of an entry's orders, what it has of each, and what Redis keeps instead of a record, if anything.
local function logged(fields, sequence)
  local ids, records, mark = {}, {}, nil
  if fields[1] == 'orders' then
    for f = 3, #fields, 2 do ids[#ids + 1], records[#records + 1] = fields[f], fields[f + 1] end
  elseif fields[1] == 'reserved' and tonumber(fields[3]) then
    mark = sequence
    eachLogged(fields[4], function(id, value, place) ids[place], records[place] = id, value end)
  end
  return ids, records, mark
end

-- isLast tells whether what Redis keeps of an order is of an entry's making, and no hold.
local function isLast(kept, record, mark, fields, place)
  if kept == mark then return true end
  if mark then record = whole(record, fields[2], mark, text(tonumber(fields[3]) + place)) end
  return kept == record and byte(record) ~= 112
end

for i = 1, #entries do
  local fields = entries[i][2]
  if nowMs - (tonumber(fields[2]) or 0) < graceMs then break end
  local ids, records, mark = logged(fields, match(entries[i][1], '^%d+'))
  if #ids > 0 then
    local kept = redis.call('HMGET', KEYS[2], unpack(ids))
    for k = 1, #ids do
      if kept[k] and isLast(kept[k], records[k], mark, fields, k) then gone[#gone + 1] = ids[k] end
    end
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

#!lua flags=no-writes
-- audit.lua: what some products, buyers and orders of a partition have at one instant, and how far its log had come then.
--
-- KEYS 1 meta    hash   and token -> sequence
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record, or sequence; tokens of the version before
-- KEYS 6 expiry  zset   order id of a hold -> expiresMs
-- KEYS 7 log     stream
--
-- ARGV 1 replid      the server history that the caller has from the ledger
-- ARGV 2 watermark
-- ARGV 3 products    how many are asked for
-- ARGV 4 buyers      how many are asked for
-- ARGV ..            the products, then the buyers' fields, then order ids (16 bytes): no more than 7,000 in all
--
-- Returns {code, nowMs} where code is not OK (see guard.lua), otherwise
--   {OK, nowMs, sequence, values ..}
-- values are, in the order of the arguments, of each product its counters and its terms, each buyer's counts, and of each
-- order its record and its expiresMs; nil for what is not there. Of an order that was sold at once the record is the sequence of
-- its entry, whether Redis keeps that under its id or under its token.
--
-- Invariant: writes nothing.
--@include guard.lua
--@include entries.lua

local products, buyers = tonumber(ARGV[3]), tonumber(ARGV[4])
local ids, tokens, asked = {}, {}, {}
for i = 5 + products + buyers, #ARGV do
  local k = #ids + 1
  ids[k], tokens[k] = ARGV[i], tokenOf(ARGV[i])
  asked[2 * k - 1], asked[2 * k] = ids[k], tokens[k]
end

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), math.huge, unpack(tokens))
if code ~= 'OK' then return {code, nowMs} end

local reply = {'OK', nowMs, meta[3]}
local first, n = 5, 3

if products > 0 then
  local stocks = redis.call('HMGET', KEYS[2], unpack(ARGV, first, first + products - 1))
  local terms = redis.call('HMGET', KEYS[3], unpack(ARGV, first, first + products - 1))
  for i = 1, products do
    reply[n + 2 * i - 1], reply[n + 2 * i] = stocks[i], terms[i]
  end
end
first, n = first + products, n + 2 * products
if buyers > 0 then
  local values = redis.call('HMGET', KEYS[4], unpack(ARGV, first, first + buyers - 1))
  for i = 1, buyers do reply[n + i] = values[i] end
end
n = n + buyers
if #ids > 0 then
  local records = redis.call('HMGET', KEYS[5], unpack(asked))
  local expiry = redis.call('ZMSCORE', KEYS[6], unpack(ids))
  local entries = {} -- sequence -> the fields of its entry
  for k = 1, #ids do
    local record, sequence = records[2 * k - 1], meta[5 + k] or records[2 * k]
    if not record and sequence and match(sequence, '^%d+$') and #sequence <= 15 then
      local fields = entries[sequence]
      if not fields then
        local entry = redis.call('XRANGE', KEYS[7], sequence .. '-0', sequence .. '-0')[1]
        fields = entry and entry[2] or {}
        entries[sequence] = fields
      end
      if sells(fields, ids[k]) then record = sequence end
    end
    reply[n + 2 * k - 1], reply[n + 2 * k] = record, expiry[k]
  end
end
return reply

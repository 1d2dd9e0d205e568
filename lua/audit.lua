#!lua flags=no-writes
-- audit.lua: what some products, buyers and orders of a partition have at one instant, and how far its log had come then.
--
-- KEYS 1 meta    hash
-- KEYS 2 stock   hash   product -> current,held,sold,initial,change
-- KEYS 3 terms   hash   product -> limit,active,startsMs,endsMs,holdMs
-- KEYS 4 buyers  hash   product|user -> bought,held,lockUntilMs,lastOrder
-- KEYS 5 orders  hash   order id -> record
-- KEYS 6 expiry  zset   order id of a hold -> expiresMs
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
-- order its record and its expiresMs; nil for what is not there.
--
-- Invariant: writes nothing.
--@include guard.lua

local code, nowMs, meta = guard(KEYS[1], ARGV[1], tonumber(ARGV[2]), math.huge)
if code ~= 'OK' then return {code, nowMs} end

local products, buyers = tonumber(ARGV[3]), tonumber(ARGV[4])
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
first, n = first + buyers, n + buyers
if first <= #ARGV then
  local records = redis.call('HMGET', KEYS[5], unpack(ARGV, first, #ARGV))
  local expiry = redis.call('ZMSCORE', KEYS[6], unpack(ARGV, first, #ARGV))
  for i = 1, #records do
    reply[n + 2 * i - 1], reply[n + 2 * i] = records[i], expiry[i]
  end
end
return reply

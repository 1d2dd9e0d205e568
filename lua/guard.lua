-- guard.lua: the check that every writing script makes before it writes anything.
-- Included by a line `--@include guard.lua`; it is not a script of its own.
--
-- guard(metaKey, replid, watermark, deadlineMs, more ..) returns code, nowMs, meta
--   code, in order of precedence:
--     MISSING  no meta, or one that was never sealed: the server was flushed, restored or never held this epoch
--     CLOSED   the partition is being brought in line
--     FENCED   not a primary, or not the server history that meta was opened on, or not the one that the caller has from
--              the ledger: a primary that was cut off and replaced loses its callers this way
--     BEHIND   this server has forgotten entries that the ledger holds
--     LATE     the deadline has passed: nobody waits for this call any more
--     OK
--   nowMs  max(TIME, meta.time), the only clock of the engine
--   meta   {state, replid, sequence, time, orders, more ..}: sequence, time and orders as numbers, more are the fields that are asked
--          for besides, as they are
local function guard(metaKey, replid, watermark, deadlineMs, ...)
  local meta = redis.call('HMGET', metaKey, 'state', 'replid', 'sequence', 'time', 'orders', ...)
  local time = redis.call('TIME')
  local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
  if not meta[3] then return 'MISSING', nowMs end
  meta[3], meta[4], meta[5] = tonumber(meta[3]), tonumber(meta[4]), tonumber(meta[5])
  if meta[4] > nowMs then nowMs = meta[4] end
  if meta[1] ~= 'open' then return 'CLOSED', nowMs end
  local info = redis.call('INFO', 'replication')
  if replid ~= meta[2] or not string.find(info, 'role:master\r\n', 1, true)
    or not string.find(info, 'master_replid:' .. replid .. '\r\n', 1, true) then
    return 'FENCED', nowMs
  end
  if meta[3] < watermark then return 'BEHIND', nowMs end
  if nowMs > deadlineMs then return 'LATE', nowMs end
  return 'OK', nowMs, meta
end

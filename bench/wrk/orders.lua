-- Orders one unit each for users who never come twice, for wrk 4.1:
--
--   RUN=$(date +%s) PRODUCT=demo wrk -t2 -c64 -d5s --latency -s bench/wrk/orders.lua http://127.0.0.1:3000
--
-- RUN      sets the users of this run apart from those of all others; default: the time and a random number.
-- PRODUCT  is the id of the product; default demo.
-- DURABILITY  is asked for where it is set: fast, replicated or ledger.
-- COUNT=1  counts the answers and ends with one line, "accepted N refused N failed N": 201, 409, and all else with
--          what got no answer. It makes wrk call Lua for every answer, which costs it much of its speed: leave it out
--          where speed is measured, and subtract wrk's own "Non-2xx or 3xx responses" instead.
--
-- The path is that of the URL, or /orders where the URL has none.

local PRODUCT = os.getenv("PRODUCT") or "demo"
local COUNT = os.getenv("COUNT") == "1"
local MODE = os.getenv("DURABILITY") or ""
if MODE ~= "" then MODE = ',"durability":"' .. MODE .. '"' end

-- A counter has a high part, any number of digits kept at HIGH_WIDTH, and a low part out of this table: building a
-- request is then a concatenation of strings that exist.
local LOW = 1000
local HIGH_WIDTH = 9
local MARK = string.rep("#", HIGH_WIDTH + 3)

local function random_run()
  local bits = 0
  local source = io.open("/dev/urandom", "rb")
  if source then
    local bytes = source:read(4)
    source:close()
    for i = 1, 4 do bits = bits * 256 + bytes:byte(i) end
  end
  return string.format("%d-%08x", os.time(), bits)
end

-- In wrk's own state: once per thread, before it starts.
local RUN = os.getenv("RUN")
if not RUN or RUN == "" then RUN = random_run() end
local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("run", RUN .. "-" .. #threads)
end

-- In the state of each thread. What `done` reads is global.
accepted, refused, failed = 0, 0, 0
local head, tail
local low, high = {}, 0
local next_low = 0
local prefix

local function next_thousand()
  prefix = head .. string.format("%0" .. HIGH_WIDTH .. "d", high)
  high = high + 1
  next_low = 0
end

function init()
  local path = wrk.path
  if path == nil or path == "" or path == "/" then path = "/orders" end
  local body = '{"productId":"' .. PRODUCT .. '","userId":"wrk-' .. run .. '-' .. MARK .. '","quantity":1' .. MODE .. '}'
  local whole = wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
  local first, last = whole:find(MARK, 1, true)
  head, tail = whole:sub(1, first - 1), whole:sub(last + 1)
  for i = 0, LOW - 1 do low[i] = string.format("%03d", i) .. tail end
  next_thousand()
end

function request()
  if next_low == LOW then next_thousand() end
  local made = prefix .. low[next_low]
  next_low = next_low + 1
  return made
end

if COUNT then
  function response(status)
    if status == 201 then
      accepted = accepted + 1
    elseif status == 409 then
      refused = refused + 1
    else
      failed = failed + 1
    end
  end

  function done(summary)
    local errors = summary.errors
    local yes, no, bad = 0, 0, errors.connect + errors.read + errors.write + errors.timeout
    for _, thread in ipairs(threads) do
      yes = yes + thread:get("accepted")
      no = no + thread:get("refused")
      bad = bad + thread:get("failed")
    end
    io.write(string.format("accepted %d refused %d failed %d\n", yes, no, bad))
  end
end

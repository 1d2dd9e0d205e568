-- counters.lua: how the counters of products and buyers are read and written.
-- Included by a line `--@include counters.lua`; it is not a script of its own.
--
-- A reader returns nil for what it can't read. Numbers come as numbers.
--   text(n)                       a count in digits
--   readProduct(counters, terms)  {current, held, sold, tail, terms = {limit, active, startsMs, endsMs, holdMs}}
--   readBuyer(value)              {bought, held, lockUntilMs, last}; no value is a buyer who has nothing
--   productText and buyerText are their inverses.
local match, format, sub = string.match, string.format, string.sub

local function text(n) return format('%d', n) end -- a third of what '%.0f' costs, and as exact

-- readTerms reads each text only once a call: most products of a batch have the same terms.
local termsKnown = {}
local function readTerms(value)
  local t = termsKnown[value]
  if t == nil then
    local limit, active, startsMs, endsMs, holdMs = match(value, '^(%d+),([01]),(%d+),(%d+),(%d+)$')
    t = limit and {limit = tonumber(limit), active = active == '1', startsMs = tonumber(startsMs), endsMs = tonumber(endsMs),
      holdMs = tonumber(holdMs)} or false
    termsKnown[value] = t
  end
  return t
end

local function readProduct(counters, terms)
  local current, held, sold, tail = match(counters or '', '^(%d+),(%d+),(%d+)(,%d+,%d+)$')
  local t = current and readTerms(terms or '')
  if not t then return nil end
  return {current = tonumber(current), held = tonumber(held), sold = tonumber(sold), tail = tail, terms = t}
end

local function productText(p)
  return format('%d,%d,%d%s', p.current, p.held, p.sold, p.tail)
end

local function readBuyer(value)
  if not value then return {bought = 0, held = 0, lockUntilMs = 0, last = ''} end
  local bought, held, lockUntilMs, last = match(value, '^(%d+),(%d+),(%d+),(.*)$')
  if not bought then return nil end
  return {bought = tonumber(bought), held = tonumber(held), lockUntilMs = tonumber(lockUntilMs), last = last}
end

local function buyerText(b)
  return format('%d,%d,%d,', b.bought, b.held, b.lockUntilMs) .. b.last -- joined, for format ends a text at its first zero byte
end
